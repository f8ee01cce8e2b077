"""The scheduler against the same rules written down plainly, step by step."""

from __future__ import annotations

from typing import Never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.decisions import StepPlan
from sim.request import Request
from sim.scheduler import EngineLimits, Scheduler
from sim.waiting import FirstCome
from tests.sim.plain_scheduler import PlainRequest, PlainScheduler
from traces.workload import RequestClass


def request(id: int, prompt: int, output: int) -> Request:
    return Request(id, RequestClass(), 0, 0.0, prompt, output)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[int, int, int]]]:
    block = draw(st.sampled_from([1, 4, 16]))
    longest = draw(st.integers(2, 90))
    limits = {
        "max_seqs": draw(st.integers(1, 8)),
        "budget": draw(st.integers(1, 60)),
        "block": block,
        "blocks": -(-longest // block) + draw(st.integers(0, 12)),
        "threshold": draw(st.sampled_from([0, 0, 3, 10])),
    }
    requests = []
    for _ in range(draw(st.integers(1, 14))):
        prompt = draw(st.integers(1, longest - 1))
        requests.append((draw(st.integers(0, 40)), prompt, draw(st.integers(1, longest - prompt))))
    return limits, sorted(requests)


@given(cases(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_every_step_schedules_what_the_plain_rules_schedule(
    case: tuple[dict[str, int], list[tuple[int, int, int]]], always_scan: bool
) -> None:
    limits, arrivals = case
    plain = PlainScheduler(**limits)
    ours = Scheduler(
        EngineLimits(limits["max_seqs"], limits["budget"], limits["block"], limits["blocks"], limits["threshold"]),
        always_scan=always_scan,
    )
    plan = StepPlan(limits["budget"])
    coming = list(enumerate(arrivals))
    done = 0
    for step in range(5_000):
        while coming and coming[0][1][0] <= step:
            id, (_, prompt, output) = coming.pop(0)
            plain.waiting.append(PlainRequest(id, prompt, output))
            ours.add(request(id, prompt, output))
        expected, preempted = plain.schedule()
        busy = ours.schedule(plan)
        scheduled = {r.id: 1 for r in ours.running if r.seated} | {r.id: n for r, n in ours.chunks}
        assert scheduled == expected
        assert busy == bool(expected)
        assert ours.preempted == len(preempted)
        assert [r.id for r in ours.running] == [r.id for r in plain.running]
        assert [r.id for r in ours.waiting] == [r.id for r in plain.waiting]
        assert ours.kv.free == plain.free()
        if busy:
            finished = plain.advance(expected)
            ours.advance(1)
            assert sorted(r.id for r in ours.finished) == sorted(finished)
            done += len(finished)
        assert {r.id: r.generated_tokens for r in ours.running} == {r.id: r.generated for r in plain.running}
        assert ours.pending_prefill_tokens == sum(r.prompt_tokens + r.generated_tokens for r in ours.waiting) + sum(
            r.goal - r.prefilled_tokens for r in ours.running if not r.decoding
        )
        assert ours.decode_context == sum(r.prompt_tokens + r.generated_tokens for r in ours.running if r.seated)
        if done == len(arrivals):
            break
    assert done == len(arrivals)
    assert ours.kv.used == ours.kv.seated == sum(ours.kv.phases) == 0


@given(cases())
@settings(max_examples=200, deadline=None)
def test_a_leap_of_the_horizon_equals_as_many_single_steps(case: tuple[dict[str, int], list[tuple[int, int, int]]]) -> None:
    limits, arrivals = case
    engine = EngineLimits(limits["max_seqs"], limits["budget"], limits["block"], limits["blocks"], limits["threshold"])
    leaping, walking = Scheduler(engine), Scheduler(engine)
    plan = StepPlan(limits["budget"])
    for scheduler in (leaping, walking):
        for id, (_, prompt, output) in enumerate(arrivals):
            scheduler.add(request(id, prompt, output))
    for _ in range(5_000):
        if not leaping.schedule(plan):
            break
        steps = leaping.horizon()
        leaping.advance(steps)
        for _ in range(steps):
            assert walking.schedule(plan)
            walking.advance(1)
        assert leaping.step == walking.step
        assert leaping.kv.used == walking.kv.used
        assert leaping.kv.phases == walking.kv.phases
        assert leaping.decode_context == walking.decode_context
        assert [r.id for r in leaping.finished] == [r.id for r in walking.finished]
    assert not leaping.running
    assert not leaping.waiting


def test_a_plan_orders_caps_and_preempts() -> None:
    scheduler = Scheduler(EngineLimits(max_num_seqs=4, max_num_batched_tokens=100, block_size=16, kv_blocks=100))
    for id in range(3):
        scheduler.add(request(id, 40, 5))
    scheduler.schedule(StepPlan(100, order=[2, 0, 1], caps={0: 7}))
    assert [(r.id, n) for r, n in scheduler.chunks] == [(2, 40), (0, 7), (1, 40)]
    scheduler.advance(1)
    scheduler.schedule(StepPlan(100, caps={2: 0}))  # 2 sits out and keeps its KV
    assert {r.id for r in scheduler.running if r.seated} == {1}
    assert [(r.id, n) for r, n in scheduler.chunks] == [(0, 33)]
    scheduler.advance(1)
    sitting = next(r for r in scheduler.running if r.id == 2)
    assert (sitting.generated_tokens, sitting.prefilled_tokens, sitting.blocks) == (1, 40, 3)
    scheduler.schedule(StepPlan(100, preempt=[2]))
    assert [r.id for r in scheduler.waiting] == [2]
    assert (sitting.prefilled_tokens, sitting.preemptions, sitting.goal) == (0, 1, 41)


def test_a_request_held_by_its_cap_keeps_its_place_in_the_queue() -> None:
    scheduler = Scheduler(EngineLimits(max_num_seqs=4, max_num_batched_tokens=100, block_size=16, kv_blocks=100))
    for id in range(3):
        scheduler.add(request(id, 10, 5))
    scheduler.schedule(StepPlan(100, caps={0: 0, 1: 0}))
    assert [r.id for r, _ in scheduler.chunks] == [2]
    assert [r.id for r in scheduler.waiting] == [0, 1]


def test_a_plan_lets_in_those_it_names_in_its_order_and_the_others_keep_their_places() -> None:
    scheduler = Scheduler(EngineLimits(max_num_seqs=4, max_num_batched_tokens=100, block_size=16, kv_blocks=100))
    for id in range(6):
        scheduler.add(request(id, 10, 5))
    scheduler.schedule(StepPlan(100, admit=[4, 99, 2, 4]))
    assert [r.id for r, _ in scheduler.chunks] == [4, 2]
    scheduler.advance(1)
    assert scheduler.schedule(StepPlan(100, admit=(), preempt=[4]))
    assert [r.id for r in scheduler.waiting] == [4, 0, 1, 3, 5]
    scheduler.advance(scheduler.horizon())
    scheduler.schedule(StepPlan(100, order=[5, 2], admit=[3]))
    assert [r.id for r in scheduler.running] == [2, 3]
    assert [r.id for r in scheduler.waiting] == [4, 0, 1, 5]


def test_whom_a_plan_names_and_who_does_not_fit_blocks_those_named_behind() -> None:
    scheduler = Scheduler(EngineLimits(max_num_seqs=4, max_num_batched_tokens=100, block_size=16, kv_blocks=4))
    for id, prompt in enumerate((16, 80, 16)):
        scheduler.add(request(id, prompt, 2))
    scheduler.schedule(StepPlan(100, admit=[0, 1, 2]))
    assert [r.id for r, _ in scheduler.chunks] == [0]


def test_a_queue_that_no_one_is_let_in_from_does_not_shorten_a_leap() -> None:
    scheduler = Scheduler(EngineLimits(max_num_seqs=4, max_num_batched_tokens=100, block_size=16, kv_blocks=100))
    scheduler.add(request(0, 10, 40))
    scheduler.add(request(1, 10, 40))
    scheduler.schedule(StepPlan(100, admit=[0]))
    scheduler.advance(1)
    scheduler.schedule(StepPlan(100, admit=()))
    assert scheduler.horizon() == 39, "it leaps to the end of the only one that runs"


def test_letting_one_in_costs_no_look_at_a_long_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler(EngineLimits(max_num_seqs=256, max_num_batched_tokens=100, block_size=16, kv_blocks=10_000))
    for id in range(5000):
        scheduler.add(request(id, 10, 5))

    def looked_at(_: FirstCome) -> Never:
        raise AssertionError("the whole queue is looked at")

    monkeypatch.setattr(FirstCome, "__iter__", looked_at)
    scheduler.schedule(StepPlan(100, admit=[2500]))
    assert [r.id for r, _ in scheduler.chunks] == [2500]
    assert len(scheduler.waiting) == 4999


@pytest.mark.parametrize("budget", [3, 1])
def test_decodes_beyond_the_budget_sit_out_in_order(budget: int) -> None:
    scheduler = Scheduler(EngineLimits(max_num_seqs=8, max_num_batched_tokens=100, block_size=4, kv_blocks=100))
    for id in range(5):
        scheduler.add(request(id, 4, 9))
    scheduler.schedule(StepPlan(100))
    scheduler.advance(1)
    scheduler.schedule(StepPlan(budget))
    assert [r.id for r in scheduler.running if r.seated] == list(range(budget))
    scheduler.advance(scheduler.horizon())
    assert [r.id for r in scheduler.finished] == list(range(budget))
