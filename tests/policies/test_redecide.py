"""Re-deciding: a decision log, read back from disk, rebuilds the policies of a run and their every decision."""

from __future__ import annotations

import copy
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from policies import registry
from policies.decisionlog import Full, Summary
from policies.decisions import Assign, Hold, Routing, StepPlan
from policies.redecide import redecide, redecide_record
from policies.routers import LeastLoaded, RoundRobin
from policies.types import SLO, EngineView, FleetView, RequestView, Role
from policies.views import NOT_HELD, Engine, Fleet, NotObserved, OracleRequest, Request, engine_data, request_data
from sim.run import simulate
from traces.conformance.stories import LATENCY, stories
from traces.record import Record
from traces.scenario import load_scenario

# Two kinds of requests, memory for a few of them at a time, and a prefix to share.
SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 3}
engine: {num_gpu_blocks_override: 2100, max_model_len: 32768, max_num_batched_tokens: 2048, max_num_seqs: 64}
workload:
  - {name: chat, trace: mooncake-conversation, rate: 6/s, requests: 60, truncate: true, slo: {ttft: 1s, tpot: 30ms}}
  - {name: batch, trace: {prompt_tokens: 1500, output_tokens: 200}, rate: 4/s, requests: 40, offline: true}
decisions: full
seed: 3
"""


def run(folder: Path, *sets: str, text: str = SCENARIO) -> Record:
    """A run's record as it is read from disk."""
    (folder / "scenario.yaml").write_text(text)
    simulate(load_scenario(folder / "scenario.yaml", sets)).write(folder / "record")
    return Record.read(folder / "record")


def log_of(record: Record) -> list[dict[str, Any]]:
    assert record.decisions is not None
    return [dict(entry) for entry in record.decisions]


ALL = [(point, name) for point in registry.POINTS for name in registry.names(point)]


@pytest.mark.parametrize("observe", ["0s", "300ms"])
@pytest.mark.parametrize(("point", "name"), ALL)
def test_every_policy_decides_again_as_it_did_in_a_run(point: str, name: str, observe: str, tmp_path: Path) -> None:
    sets = ("duration=1min", "fleet.parked=1", "fleet.start_up=100ms") if point == "scaler" else ()
    record = run(tmp_path, f"policy.{point}={name}", f"sim.observe={observe}", *sets)
    again = redecide_record(record.manifest, log_of(record))
    assert again.differences == []
    assert again.same
    kinds = Counter(entry["point"] for entry in log_of(record))
    assert kinds["router"] >= 100  # once per request, and again for those that were held
    assert kinds["batcher"] >= 200  # every request starts, finishes and preempts at a plan of its own, now and then together
    assert {"router", "e0", "e1"} | ({"scaler"} & {point}) <= set(again.policies)


def test_a_log_in_memory_and_the_same_log_from_disk_are_equal(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    record = simulate(load_scenario(tmp_path / "scenario.yaml"))
    assert json.loads(json.dumps(list(record.decisions or ()))) == log_of(record.write(tmp_path / "record"))


def test_another_policy_on_the_same_log_shows_where_it_would_have_decided_otherwise(tmp_path: Path) -> None:
    record = run(tmp_path, "policy.router=least-loaded")
    again = redecide(log_of(record), lambda point: RoundRobin() if point == "router" else registry.build(point, "vllm", {}, 0))
    assert not again.same
    assert 0 < again.differ < again.decisions
    first = again.differences[0]
    assert (first.point, first.who) == ("router", "request 0")
    assert json.loads(first.logged)["reason"] == "fewest unfinished requests"
    assert json.loads(first.again)["reason"] == "next in turn"


def test_the_rebuilt_policy_goes_on_where_the_run_ended() -> None:
    calls = stories("router")[0].calls
    log, router = Full(), RoundRobin()
    for request, fleet in calls[:31]:
        log.router(router).route(request, fleet)
    rebuilt = redecide(log, lambda _: RoundRobin()).policies["router"]
    assert [rebuilt.route(*call) for call in calls[31:]] == [router.route(*call) for call in calls[31:]]


def test_a_summary_cannot_be_decided_again() -> None:
    log = Summary()
    log.router(RoundRobin()).route(Request(), Fleet.at_rest(2))
    with pytest.raises(ValueError, match="run the scenario again with `decisions: full`"):
        redecide(log, lambda _: RoundRobin())


def test_a_summary_counts_plans_too() -> None:
    log = Summary()
    batcher = log.batcher("e0", registry.build("batcher", "vllm", {}, 0))
    for now in (1.0, 2.0):
        batcher.plan(Engine(now_s=now))
    (line,) = log
    assert (line["point"], line["decision"], line["reason"]) == ("batcher", "StepPlan", "the engine's own token budget")
    assert (line["count"], line["first_s"], line["last_s"]) == (2, 1.0, 2.0)


# --- what a log holds -------------------------------------------------------------------------------------------------


class Deep:
    """Reads all that a view shows: requests, their prefixes, the believed latency, what is held, and what has completed."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        from policies.latency import StepShape

        best, least, told = None, 0.0, sum(done.output_tokens for done in fleet.completed)
        for engine in fleet.engines:
            shared = sum(bool(set(r.prefix_blocks) & set(request.prefix_blocks)) for r in engine.running)
            step_s = engine.latency.seconds(StepShape(request.prompt_tokens, 0.0, 1, len(engine.running), 1000))
            score = step_s * (1 + len(engine.waiting)) - 1e-4 * shared + 1e-5 * len(fleet.held) + 1e-6 * told
            if best is None or score < least:
                best, least = engine, score
        return Hold("no engine") if best is None else Assign(best.id, f"{least!r}")


class Shallow:
    """Reads counts."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        return LeastLoaded().route(request, fleet)


def logged(router: Any) -> list[dict[str, Any]]:
    log = Full()
    for request, fleet in stories("router")[0].calls:
        log.router(router).route(request, fleet)
    return json.loads(json.dumps(list(log)))


def test_what_a_policy_reads_is_in_the_log_and_rebuilds_its_decisions() -> None:
    entries = logged(Deep())
    again = redecide(entries, lambda _: Deep())
    assert again.differences == []
    assert again.same
    assert entries[0]["point"] == "latency", "the believed latency stands before the first decision that reads it"
    assert [e["point"] for e in entries].count("latency") == 1
    engine = entries[1]["engines"][0]
    assert engine["latency"] == 0
    assert {"prefix_blocks", "generated_tokens", "slo"} <= engine["running"][0].keys()
    assert "prefix_blocks" not in entries[2]["engines"][0]["waiting"][0], "it was not read of waiting requests"
    assert "held" in entries[1]
    assert any(entry["completed"] for entry in entries[1:]), "what has completed is there, with its length"


def test_what_a_policy_does_not_read_is_not_in_the_log() -> None:
    entry = logged(Shallow())[0]
    assert not {"running", "waiting", "latency"} & entry["engines"][0].keys()
    assert not {"held", "completed"} & entry.keys()
    assert entry["engines"][0]["running_count"] > 0, "numbers are always there, for people and other policies"


class Hungrier(Shallow):
    """Reads more than the policy that was logged."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        return Assign(fleet.engines[0].id, str(len(fleet.engines[0].running)))


def test_reading_what_was_not_logged_is_told_as_such() -> None:
    again = redecide(logged(Shallow()), lambda _: Hungrier())
    assert again.differ == again.decisions
    assert "NotObserved: this view does not hold" in again.differences[0].again
    assert len(again.differences) == 10, "the first few are kept"


class Planner:
    """Uses every part of a plan."""

    def plan(self, engine: EngineView) -> StepPlan:
        ids = [r.id for r in sorted((*engine.running, *engine.waiting), key=lambda r: (r.offline, r.arrival_s, r.id))]
        caps = {r.id: 64 for r in engine.waiting}
        return StepPlan(256, order=ids, caps=caps, preempt=[r.id for r in engine.running[:1]], valid_steps=3, reason="all of it")


def test_every_part_of_a_plan_is_logged() -> None:
    log = Full()
    for (engine,) in stories("batcher")[0].calls:
        log.batcher("e7", Planner()).plan(engine)
    entries = json.loads(json.dumps(list(log)))
    assert redecide(entries, lambda _: Planner()).same
    entry = next(e for e in entries if e["caps"] and e["preempt"])
    assert (entry["engine"], entry["valid_steps"], entry["token_budget"]) == ("e7", 3, 256)
    entry["caps"] = dict.fromkeys(entry["caps"], 65)
    assert redecide(entries, lambda _: Planner()).differ == 1


def test_an_oracles_foresight_is_logged_with_what_it_saw() -> None:
    class Oracle:
        def route(self, request: Any, fleet: FleetView) -> Routing:
            return Assign(fleet.engines[request.true_output_tokens % 2].id, "by the truth")

    log = Full()
    for tokens in (4, 7):
        log.router(Oracle()).route(OracleRequest(true_output_tokens=tokens), Fleet.at_rest(2))
    entries = json.loads(json.dumps(list(log)))
    assert [e["request"]["true_output_tokens"] for e in entries] == [4, 7]
    assert redecide(entries, lambda _: Oracle()).same


# --- views as data ----------------------------------------------------------------------------------------------------


def test_views_come_back_from_their_data_as_they_were() -> None:
    request = Request(3, "m", 700, (1, 2), "premium", True, SLO(0.5, None, 9.0), 1.5, 80.0, 16, 8, 2, 1.75)
    assert Request.of(json.loads(json.dumps(request_data(request)))) == request
    engine = Engine(
        "e1", "m", 2, 1, 300, 9000, 512, Role.DECODE, now_s=4.0, as_of_s=3.5, step=8, step_ends_s=4.1, kv_tokens_used=64
    )
    assert Engine.of(json.loads(json.dumps(engine_data(engine))), now_s=4.0) == engine


def test_a_view_refuses_what_it_does_not_hold_even_as_a_copy() -> None:
    engine = pickle.loads(pickle.dumps(copy.deepcopy(Engine(running_count=2))))
    assert engine.running is NOT_HELD
    for use in (len, list, bool, lambda running: running[0]):
        with pytest.raises(NotObserved, match="read it in the call that needs it"):
            use(engine.running)
    with pytest.raises(NotObserved):
        engine.latency.seconds(None)


def test_plain_views_never_change() -> None:
    with pytest.raises(AttributeError):
        Request().tier = "other"  # type: ignore[misc]


def test_latency_models_of_stories_are_monotone_in_the_batch() -> None:
    from policies.latency import StepShape

    assert LATENCY.seconds(StepShape(decode_seqs=8, decode_context=800)) > LATENCY.seconds(
        StepShape(decode_seqs=4, decode_context=400)
    )
