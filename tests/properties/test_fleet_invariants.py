"""The invariants of a run under random failures, drains, start-ups and hand-overs. Numbers as in ``test_invariants``."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.decisions import Activate, Change, Drain, Move, Scale
from policies.seating import Seat
from policies.streams import Draws
from policies.types import EngineState, FleetView, Role
from sim.faults import Fault
from sim.journal import COMPLETED, FAILED, UNFINISHED
from sim.scheduler import EngineLimits
from sim.site import Site
from tests.sim.cluster import Outcome
from tests.sim.fleets import play_fleet
from traces.workload import RequestClass, Workload

CLASSES = (RequestClass("chat", "chat", "m"),)
LONGEST = 80
END_S = 20.0
ROLES = (Role.BOTH, Role.BOTH, Role.PREFILL, Role.DECODE)


class Fickle:
    """A scaler that activates, drains and moves engines at random, as far as it may, until 3 s; then it brings all of them up."""

    def __init__(self, seed: int) -> None:
        self.draw = Draws(seed, "fickle")
        self.asked = 0

    def scale(self, fleet: FleetView) -> Scale:
        changes: list[Change] = []
        late = fleet.now_s >= 3
        for i, engine in enumerate(fleet.members):
            luck = self.draw(100 * self.asked + i)
            if engine.state in (EngineState.PARKED, EngineState.DRAINING) and (late or luck < 0.4):
                changes.append(Activate(engine.id, "up", "gold" if luck < 0.2 else None))
            elif engine.state in (EngineState.STARTING, EngineState.ACTIVE) and not late and luck < 0.3:
                changes.append(Drain(engine.id, "down") if luck < 0.2 else Move(engine.id, "over", "gold"))
        self.asked += 1
        return Scale(changes, fleet.now_s + 0.13, on_hold=self.asked % 3 == 0)


@st.composite
def settings_of_runs(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(1, 30))
    gaps = draw(st.lists(st.floats(0, 0.15), min_size=n, max_size=n))
    prompts = draw(st.lists(st.integers(1, LONGEST - 20), min_size=n, max_size=n))
    outputs = draw(st.lists(st.integers(1, 20), min_size=n, max_size=n))
    prefixes: dict[str, Any] = {}
    if draw(st.booleans()):
        counts = [prompt // 8 for prompt in prompts]
        prefixes = {
            "block_offsets": np.concatenate([[0], np.cumsum(counts)]),
            "block_ids": np.concatenate([np.arange(count) for count in counts]).astype(np.int64),
            "block_tokens": 8,
        }
    block = draw(st.sampled_from([4, 8, 16]))
    first = ROLES if draw(st.booleans()) else (Role.BOTH,)  # one of each, so that everybody can be served
    roles = [*first, *draw(st.lists(st.sampled_from(first), max_size=3))]
    sites = [
        Site(
            Seat(start_up_s=draw(st.sampled_from([0.0, 0.2]))),
            role=role,
            kv_token_bytes=10,
            link_bytes_s=draw(st.sampled_from([1e4, 1e6])),
        )
        for role in roles
    ]
    times = draw(st.lists(st.floats(0.01, 3.0), max_size=8))
    names = draw(st.lists(st.sampled_from([f"e{i}" for i in range(len(sites))]), min_size=len(times), max_size=len(times)))
    return {
        "workload": Workload.make(np.cumsum(gaps), prompts, outputs, classes=CLASSES, **prefixes),
        "sites": sites,
        "parked": sorted(draw(st.sets(st.integers(0, len(sites) - 1), max_size=2))),
        "scaler": draw(st.integers(0, 1000)),
        "faults": [Fault(name, time, draw(st.sampled_from([0.0, 0.3]))) for name, time in zip(names, times, strict=True)],
        "retries": draw(st.sampled_from([0, 1, 100])),
        "latency_s": draw(st.sampled_from([0.0, 0.01])),
        "limits": EngineLimits(
            max_num_seqs=draw(st.integers(1, 8)),
            max_num_batched_tokens=draw(st.integers(8, 120)),
            block_size=block,
            kv_blocks=-(-LONGEST // block) + draw(st.integers(0, 10)),
        ),
        "noise": draw(st.sampled_from([0.0, 0.1])),
        "observe_s": draw(st.sampled_from([0.0, 0.05])),
        "prefix_caching": draw(st.booleans()),
    }


def run(options: dict[str, Any], **more: Any) -> Outcome:
    return play_fleet(**{**options, "scaler": Fickle(options["scaler"]), "until_s": END_S, **more})


@given(settings_of_runs())
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost_and_nothing_is_left(options: dict[str, Any]) -> None:
    workload, outcome = options["workload"], run(options)
    codes, generated = outcome.column("outcome"), outcome.column("generated")
    done = codes == COMPLETED

    # INV-1 conservation: every request is completed, or failed because it lost too many engines; nobody waits for ever
    assert set(codes.tolist()) <= {COMPLETED, FAILED}
    assert outcome.fleet.done == len(workload)
    assert (codes == FAILED).sum() == outcome.fleet.losses.given_up
    if options["retries"] == 100:
        assert done.all()
    assert (generated[done] == workload.output_tokens[done]).all()
    assert (generated[~done] < workload.output_tokens[~done]).all()

    # INV-3 and INV-6: all KV is returned, on whatever engine; nobody holds anything, and least of all who is parked
    for engine in outcome.engines:
        scheduler = engine.scheduler
        assert engine.empty
        assert scheduler.kv.used == scheduler.kv.seated == scheduler.decode_context == scheduler.pending_prefill_tokens == 0
        assert engine.waiting_count == engine.running_count == 0
        if scheduler.prefix is not None:
            assert scheduler.prefix.blank + scheduler.prefix.idle == scheduler.kv.total

    check_tokens(outcome, generated)
    check_steps(outcome, options["limits"])


def check_tokens(outcome: Outcome, generated: np.ndarray) -> None:
    """INV-5 no request runs twice: its tokens come in unbroken runs, one after the other in time, each token once."""
    tokens = outcome.tokens()
    rows = outcome.journal.step_rows()
    ends = {}
    for row in rows:
        ends.update({(row["engine"], row["step"] + i): row["end_s"] for i in range(row["steps"])})
    counted = np.zeros(len(generated), np.int64)
    np.add.at(counted, tokens.request, tokens.last - tokens.first + 1)
    assert (counted == generated).all()
    assert (tokens.last >= tokens.first).all()
    for request in range(len(generated)):
        runs = np.flatnonzero(tokens.request == request)
        runs = runs[np.argsort(tokens.token[runs])]
        assert (np.diff(tokens.token[runs]) == (tokens.last - tokens.first + 1)[runs][:-1]).all()
        times = [ends[tokens.engine[i], tokens.first[i]] for i in runs]
        assert times == sorted(times)


def check_steps(outcome: Outcome, limits: EngineLimits) -> None:
    """INV-4 monotone time; the knobs are kept; engines run steps only while they are up."""
    rows = outcome.journal.step_rows()
    assert (rows["kv_blocks"] <= limits.kv_blocks).all()
    assert (rows["running"] <= limits.max_num_seqs).all()
    assert (rows["prefill_tokens"] + rows["decode_seqs"] <= limits.max_num_batched_tokens).all()
    for engine in outcome.engines:
        mine = rows[rows["engine"] == engine.index]
        assert (mine["end_s"] > mine["start_s"]).all()
        assert (mine["start_s"][1:] >= mine["end_s"][:-1]).all()
        assert (mine["step"][1:] == mine["step"][:-1] + mine["steps"][:-1]).all()
        life = [(time, state) for time, index, state in outcome.fleet.lifecycle.history if index == engine.index]
        for (since, state), (until, _) in zip(life, [*life[1:], (END_S, None)], strict=True):
            if state not in (EngineState.ACTIVE, EngineState.DRAINING):
                middle = (mine["start_s"] + mine["end_s"]) / 2
                assert not ((middle > since) & (middle < until)).any()
            if state is EngineState.DRAINING and until < END_S:
                arrivals = mine["start_s"][mine["start_s"] < until]
                assert (arrivals < until).all()


@given(settings_of_runs())
@settings(max_examples=60, deadline=None)
def test_leaping_changes_nothing(options: dict[str, Any]) -> None:
    leaped, stepped = run(options), run(options, leap=False)
    for name in ("first_scheduled_s", "first_token_s", "last_token_s", "engine", "generated", "outcome", "preemptions", "cached"):
        np.testing.assert_array_equal(leaped.column(name), stepped.column(name), err_msg=name)
    assert leaped.fleet.lifecycle.history == stepped.fleet.lifecycle.history


@given(settings_of_runs(), st.floats(0.05, 2.0))
@settings(max_examples=60, deadline=None)
def test_a_run_that_is_cut_short_accounts_for_everybody(options: dict[str, Any], until_s: float) -> None:
    outcome = run(options, until_s=until_s)
    codes, arrival = outcome.column("outcome"), options["workload"].arrival_s
    assert outcome.fleet.done == (codes != UNFINISHED).sum()
    assert (codes[arrival > until_s] == UNFINISHED).all()
    assert (np.isnan(outcome.column("arrival_s")) == (arrival > until_s)).all()
    generated = outcome.column("generated")
    assert (generated <= options["workload"].output_tokens).all()
    tokens = outcome.tokens()
    counted = np.zeros(len(generated), np.int64)
    np.add.at(counted, tokens.request, tokens.last - tokens.first + 1)
    assert (counted == generated).all()
    last = tokens.facts(np.zeros(len(generated), np.int64), CLASSES, outcome.column("arrival_s")).last_token_s
    assert (np.isnan(last) == (generated == 0)).all()
