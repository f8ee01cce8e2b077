"""An engine in time: leaps, anchors, what is seen of it amid a leap."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.batchers import Sarathi
from policies.decisions import Assign, Hold, Routing, Shed, StepPlan
from policies.types import SLO, EngineView, FleetView, RequestView, StepView
from sim.journal import COMPLETED, UNFINISHED
from sim.scheduler import EngineLimits
from tests.sim.cluster import Outcome, play
from traces.workload import RequestClass, Workload

CLASSES = (
    RequestClass("chat", "chat", "m", slo=SLO(ttft_s=0.2, tpot_s=0.01)),
    RequestClass("batch", "batch", "m", offline=True, priority=1),
)


@st.composite
def workloads(draw: st.DrawFn, longest: int = 60) -> Workload:
    """Few requests, close together; times on a coarse grid so that many things happen at one instant."""
    n = draw(st.integers(1, 25))
    ticks = sorted(draw(st.lists(st.integers(0, 60), min_size=n, max_size=n)))
    prompts = draw(st.lists(st.integers(1, longest // 2), min_size=n, max_size=n))
    outputs = draw(st.lists(st.integers(1, longest // 2), min_size=n, max_size=n))
    codes = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    blocks = [draw(st.lists(st.integers(1, 2), max_size=-(-prompt // 6))) for prompt in prompts]
    return Workload.make(
        [t / 64 for t in ticks],
        prompts,
        outputs,
        klass=codes,
        classes=CLASSES,
        block_offsets=np.concatenate([[0], np.cumsum([len(b) for b in blocks])]),
        block_ids=np.array([id for b in blocks for id in b], np.int64),
        block_tokens=6,
    )


class LeastKV:
    """Reads the state of engines amid their leaps: decides by KV use, steps done and progress of running requests."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        def key(engine: EngineView) -> tuple[float, ...]:
            return (engine.kv_tokens_used, engine.step, sum(r.generated_tokens for r in engine.running), engine.step_ends_s)

        engine = min(fleet.engines, key=key)
        return Assign(engine.id, "least KV", tuple(float(e.kv_tokens_used) for e in fleet.engines))


class OneAtATime:
    """Holds what no engine is free for, and sheds every seventh request."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        if request.id % 7 == 6:
            return Shed("every seventh")
        for engine in fleet.engines:
            if engine.running_count + engine.waiting_count < 2:
                return Assign(engine.id, "has room")
        return Hold("no room")


class Pulse:
    """A batcher that lets every other request sit out, for three steps each time."""

    def plan(self, engine: EngineView) -> StepPlan:
        turn = int(engine.now_s * 40) % 2
        caps = {r.id: 0 for r in (*engine.running, *engine.waiting) if r.id % 2 == turn}
        return StepPlan(24, caps=caps, valid_steps=3)


class Doorman:
    """A batcher with a queue of its own, made of what it is told and not of a look at the engine's; the youngest go first."""

    def __init__(self) -> None:
        self.lines: dict[str, set[int]] = {}

    def plan(self, engine: StepView) -> StepPlan:
        line = self.lines.setdefault(engine.id, set())
        line -= set(engine.departed)
        line |= {request.id for request in engine.arrived}
        assert line == {request.id for request in engine.waiting}
        youngest = sorted(line, reverse=True)[: 1 + engine.step % 4]
        return StepPlan(engine.max_batched_tokens, admit=youngest, valid_steps=3)


ROUTERS = {"least-kv": LeastKV, "one-at-a-time": OneAtATime}
BATCHERS = {"vllm": lambda: None, "sarathi": lambda: Sarathi(chunk_tokens=16), "pulse": Pulse, "doorman": Doorman}


def same(a: Outcome, b: Outcome, *, exactly: bool = True) -> None:
    for name in ("arrival_s", "first_scheduled_s", "first_token_s", "engine", "generated", "cached", "preemptions", "outcome"):
        np.testing.assert_array_equal(a.column(name), b.column(name), err_msg=name)
    np.testing.assert_array_equal(a.column("last_token_s"), b.column("last_token_s"))


@given(
    workload=workloads(),
    engines=st.integers(1, 3),
    seqs=st.integers(1, 6),
    budget=st.integers(20, 70),
    spare=st.integers(0, 20),
    threshold=st.sampled_from([0, 0, 12]),
    noise=st.sampled_from([0.0, 0.05]),
    router=st.sampled_from(sorted(ROUTERS)),
    batcher=st.sampled_from(sorted(BATCHERS)),
    observe=st.sampled_from([0.0, 0.05]),
    until=st.sampled_from([float("inf"), 0.5]),
    caching=st.booleans(),
    policy=st.sampled_from(["fcfs", "priority"]),
    watermark=st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=300, deadline=None)
def test_a_run_with_leaps_equals_one_without(
    workload: Workload,
    engines: int,
    seqs: int,
    budget: int,
    spare: int,
    threshold: int,
    noise: float,
    router: str,
    batcher: str,
    observe: float,
    until: float,
    caching: bool,
    policy: Literal["fcfs", "priority"],
    watermark: float,
) -> None:
    """INV-LEAP: the same times to the last bit, whatever the knobs, policies, instants and memory pressure."""
    limits = EngineLimits(seqs, budget, 4, 15 + spare, threshold, scheduling_policy=policy, watermark=watermark)

    def run(**how: Any) -> Outcome:
        return play(
            workload,
            engines=engines,
            limits=limits,
            router=ROUTERS[router](),
            batcher=BATCHERS[batcher](),
            noise=noise,
            seed=3,
            observe_s=observe,
            until_s=until,
            prefix_caching=caching,
            **how,
        )

    leaping, walking, scanning = run(), run(leap=False), run(always_scan=True)
    same(leaping, walking)
    same(leaping, scanning)
    if leaping.events:
        klass = workload.klass.astype(np.int64)
        worst = [o.tokens().facts(klass, CLASSES, o.column("arrival_s")).worst_lateness_s for o in (leaping, walking)]
        np.testing.assert_allclose(worst[0], worst[1], rtol=0, atol=1e-12)
        assert [e.scheduler.step for e in leaping.engines] == [e.scheduler.step for e in walking.engines]


@given(workload=workloads(), noise=st.sampled_from([0.0, 0.1]), spare=st.integers(0, 12), seqs=st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_token_times_are_those_of_every_single_step(workload: Workload, noise: float, spare: int, seqs: int) -> None:
    """Lateness and gaps worked out after the run equal those counted token by token from a run without leaps."""
    limits = EngineLimits(seqs, 40, 4, 15 + spare)
    emitted: dict[int, list[float]] = {}

    class Recorder:
        def plan(self, engine: Any) -> StepPlan:
            for request in (*engine.running, *engine.waiting):
                tokens = emitted.setdefault(request.id, [])
                if request.generated_tokens > len(tokens):
                    tokens.append(engine.now_s)
            return StepPlan(40, valid_steps=1)

    walking = play(workload, limits=limits, noise=noise, seed=5, leap=False, batcher=Recorder())
    for id, last in enumerate(walking.column("last_token_s")):  # the last token's step ends as its request leaves
        emitted.setdefault(id, []).append(float(last))
    leaping = play(workload, limits=limits, noise=noise, seed=5)
    klass = workload.klass.astype(np.int64)
    facts = leaping.tokens().facts(klass, CLASSES, leaping.column("arrival_s"))
    worst = facts.worst_lateness_s
    np.testing.assert_allclose(facts.last_token_s, leaping.column("last_token_s"), rtol=1e-12)
    for id, tokens in emitted.items():
        assert len(tokens) == workload.output_tokens[id]
        slo = CLASSES[klass[id]].slo
        if slo.ttft_s is None or slo.tpot_s is None:
            assert np.isnan(worst[id])
            continue
        due = workload.arrival_s[id] + slo.ttft_s + slo.tpot_s * np.arange(len(tokens))
        assert worst[id] == pytest.approx((np.array(tokens) - due).max(), abs=1e-9)
    for code, (middles, counts) in facts.gaps.items():
        gaps = np.concatenate([np.diff(t) for i, t in emitted.items() if klass[i] == code] or [np.empty(0)])
        assert counts.sum() == len(gaps)
        if len(gaps):
            assert (counts * middles).sum() == pytest.approx(gaps.sum(), rel=0.0026)
            assert middles.max() == pytest.approx(gaps.max(), rel=0.0026)


def test_a_request_that_arrives_as_a_step_ends_is_part_of_the_next_step() -> None:
    step = {"overhead_s": 0.25}
    workload = Workload.make([0.0, 0.5], [4, 4], [4, 1], classes=(RequestClass(model="m"),))
    for leap in (True, False):
        outcome = play(workload, step=step, leap=leap)
        assert outcome.column("first_token_s").tolist() == [0.25, 0.75]
        assert outcome.column("last_token_s").tolist() == [1.0, 0.75]


def test_an_engine_tells_its_state_amid_a_leap() -> None:
    """Steps of 0.25 s; the first request has 8 prompt tokens and decodes undisturbed until the second arrives at 1.1 s."""
    seen: list[tuple[object, ...]] = []

    class Look:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            engine = fleet.engines[0]
            seen.append(
                (
                    engine.step,
                    engine.kv_tokens_used,
                    engine.running_count,
                    [r.generated_tokens for r in engine.running],
                    [r.prefilled_tokens for r in engine.running],
                    engine.step_ends_s,
                )
            )
            return Assign(engine.id, "the only one")

    workload = Workload.make([0.0, 1.1], [8, 4], [10, 1], classes=(RequestClass(model="m"),))
    play(workload, step={"overhead_s": 0.25}, router=Look(), limits=EngineLimits(block_size=4, kv_blocks=10))
    assert seen[0] == (0, 0, 0, [], [], 0.0)
    # at 1.1 s four steps are done: the prompt's and three decodes; the fifth, under way, computes token 12 in the third block
    assert seen[1] == (4, 12, 1, [4], [11], 1.25)


def test_a_router_that_names_a_wrong_engine_is_told_so() -> None:
    class Wrong:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            return Assign("e9", "no such engine")

    from traces.errors import InputError

    with pytest.raises(InputError, match=r"policy\.router: assigned request 0 to 'e9'"):
        play(Workload.make([0.0], [4], [4], classes=(RequestClass(model="m"),)), router=Wrong())


class Aborting:
    """Ends the first request when the third one comes."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engine: Any = fleet.engines[0]
        if request.id == 2:
            engine.abort(engine.running[0])
        return Assign(engine.id, "the only one")


def test_an_aborted_request_leaves_when_the_step_ends_and_gives_its_memory_back() -> None:
    workload = Workload.make([0.0, 0.0, 0.1], [32, 32, 32], [1000, 50, 5], classes=CLASSES)
    runs = [play(workload, router=Aborting(), leap=leap, prefix_caching=True) for leap in (True, False)]
    for run in runs:
        assert run.column("outcome").tolist() == [UNFINISHED, COMPLETED, COMPLETED]
        assert run.engines[0].scheduler.kv.used == 0
        assert run.engines[0].step < 100
    assert runs[0].column("last_token_s")[1:].tolist() == runs[1].column("last_token_s")[1:].tolist()
