"""HyGen's batcher: online first, offline in what is left, and off when a limit is crossed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.decisions import StepPlan
from policies.hygen.baselines import ConServeLike, HyGenStar, SarathiPlus
from policies.hygen.batcher import HyGen
from policies.views import Engine, Request
from tests.policies.hygen.engines import PREDICTOR, WEIGHTS, decodes, engine, prefills, waits


def hygen(**given: Any) -> HyGen:
    return HyGen(**{"weights": WEIGHTS, "chunk_tokens": 512, "sharing": 0.0, **given})


def predicted_s(plan: StepPlan, view: Engine, known: dict[int, Request]) -> float:
    """Of the step that a plan leads to, where everyone fits in memory: running first, then those let in."""
    budget, tokens, context, prefilling, decoding = plan.token_budget, 0, 0, 0, 0
    caps = plan.caps or {}
    order = plan.order or [request.id for request in view.running]
    for id in (*order, *(plan.admit or ())):
        request = known[id]
        left = request.prompt_tokens + request.generated_tokens - request.prefilled_tokens
        given = min(left, caps.get(id, left), budget)
        if given <= 0:
            continue
        budget -= given
        if request.generated_tokens and left == 1:
            decoding, context = decoding + 1, context + request.prefilled_tokens + 1
        else:
            prefilling, tokens = prefilling + 1, tokens + given
    return PREDICTOR.seconds(tokens, context, prefilling, decoding)


def test_online_requests_are_never_held_back_by_the_budget() -> None:
    plan = hygen(budget_s=1e-6).plan(engine([decodes(1), prefills(2)], arrived=[waits(3)]))
    assert plan.admit == (3,)
    assert not plan.caps


def test_offline_requests_are_let_in_as_far_as_the_budget_goes() -> None:
    view = engine([decodes(1)], arrived=[waits(id, 200, offline=True) for id in range(10, 20)])
    plan = hygen(budget_s=0.0125).plan(view)
    assert list(plan.admit or ()) == [10, 11]
    known = {r.id: r for r in (*view.running, *view.arrived)}
    assert 0.011 < predicted_s(plan, view, known) <= 0.0125
    assert hygen(budget_s=0.0042).plan(view).admit == ()


def test_a_step_smaller_than_the_smallest_chunk_still_serves_offline_requests() -> None:
    view = engine([], arrived=[waits(1, 60, offline=True)], max_batched_tokens=13)
    plan = hygen(budget_s=1.0).plan(view)
    assert plan.admit == (1,)
    assert (plan.caps or {}).get(1) == 13


requests = st.lists(
    st.tuples(st.sampled_from(["decodes", "prefills", "waits"]), st.booleans(), st.integers(20, 3000)), min_size=1, max_size=24
)


@given(requests, st.floats(0.005, 0.08))
def test_a_step_with_offline_work_is_within_the_budget_unless_online_work_alone_is_beyond(
    drawn: list[tuple[str, bool, int]], budget_s: float
) -> None:
    made = []
    for id, (phase, offline, size) in enumerate(drawn):
        made.append(
            {"decodes": decodes(id, size, offline=offline), "prefills": prefills(id, size + 1, size // 2, offline=offline)}.get(
                phase, waits(id, size, offline=offline)
            )
        )
    running = [r for r, (phase, *_) in zip(made, drawn, strict=True) if phase != "waits"]
    waiting = [r for r, (phase, *_) in zip(made, drawn, strict=True) if phase == "waits"]
    view = engine(running, arrived=waiting, kv_tokens_capacity=1_000_000)
    known = {r.id: r for r in made}
    plan = hygen(budget_s=budget_s).plan(view)
    alone = hygen(budget_s=budget_s).plan(engine([r for r in running if not r.offline], [r for r in waiting if not r.offline]))
    online_s = predicted_s(alone, engine([r for r in running if not r.offline]), known)
    smallest_s = max((predicted_s(StepPlan(16, admit=[r.id]), engine(), known) for r in made if r.offline), default=0.0)
    together_s = predicted_s(plan, view, known)
    lone = max((PREDICTOR.seconds(0, r.prefilled_tokens + 1, 0, 1) for r in running if r.offline), default=0.0)
    assert together_s <= max(budget_s, online_s, smallest_s, lone) + 1e-9
    assert all(r.id in (plan.admit or ()) for r in waiting if not r.offline)


def test_online_stands_before_offline_so_that_offline_is_preempted_first() -> None:
    view = engine([decodes(1, offline=True), decodes(2), decodes(3, offline=True), decodes(4)])
    assert hygen().plan(view).order == [2, 4, 1, 3]
    assert hygen().plan(engine([decodes(2), decodes(1, offline=True)])).order is None


def test_offline_decodes_beyond_the_budget_sit_out_or_are_computed_again() -> None:
    running = [decodes(1), *(decodes(id, 20_000, offline=True) for id in (5, 6, 7))]
    keeps = hygen(budget_s=0.0082).plan(engine(running))
    assert (keeps.caps, keeps.preempt) == ({7: 0}, ())
    recomputes = hygen(budget_s=0.0082, keep_state=False).plan(engine(running))
    assert (recomputes.caps, list(recomputes.preempt)) == (None, [7])


def test_offline_requests_make_room_for_online_ones_the_last_admitted_first() -> None:
    running = [decodes(1, 400), *(decodes(id, 400, offline=True) for id in (5, 6, 7))]
    view = engine(running, arrived=[waits(9, 500)], kv_tokens_capacity=4 * 416 + 64)
    plan = hygen().plan(view)
    assert list(plan.preempt) == [7, 6]
    assert plan.reason == "offline preempted for online"
    seats = hygen().plan(engine(running, arrived=[waits(9)], max_seqs=4))
    assert list(seats.preempt) == [7]


def test_headroom_is_kept_free_of_offline_work_while_online_work_is_there() -> None:
    backlog = [waits(id, 320, offline=True) for id in range(10, 20)]
    beside = hygen(budget_s=1.0, headroom=0.5, chunk_tokens=4000).plan(engine([decodes(1, 304)], backlog, kv_tokens_capacity=3200))
    assert len(beside.admit or ()) == 4
    alone = hygen(budget_s=1.0, headroom=0.5, chunk_tokens=4000).plan(engine([], backlog, kv_tokens_capacity=3200))
    assert len(alone.admit or ()) == 10


def test_who_came_and_went_is_kept_up_to_date_without_a_look_at_the_queue() -> None:
    policy = hygen(budget_s=0.0125)
    assert list(policy.plan(engine([decodes(1)], [waits(id, 200, offline=True) for id in range(10, 14)])).admit or ()) == [10, 11]
    later = engine([decodes(1), prefills(10, 200, 100, offline=True)], arrived=[waits(20, 50)], departed=[10, 12])
    assert list(policy.plan(later).admit or ()) == [20, 11]


def test_a_request_that_waits_first_is_served_within_the_stated_bound_whatever_arrives() -> None:
    """STARVATION: with a share of 1/2 for the oldest, the k-th oldest is among the next 2 (k + 1) that are let in."""
    policy = hygen(sharing=0.5, budget_s=1.0, chunk_tokens=100)
    unlucky = waits(0, 100, offline=True, prefix_blocks=(99,), arrival_s=0.0)
    view = engine([], [unlucky, *(waits(id, 100, offline=True, prefix_blocks=(1,), arrival_s=1.0) for id in range(1, 9))])
    let_in: list[int] = []
    for turn in range(2):
        let_in += policy.plan(view).admit or ()
        view = engine([], [waits(100 + turn, 100, offline=True, prefix_blocks=(0,), arrival_s=2.0)], departed=[let_in[-1]])
    assert 0 in let_in


@pytest.mark.parametrize(
    ("stage", "reason"), [("observe", "offline only observed"), ("shadow", "in shadow: offline work would be done")]
)
def test_the_first_stages_of_a_roll_out_do_no_offline_work(stage: str, reason: str) -> None:
    plan = hygen(stage=stage, budget_s=0.1).plan(engine([decodes(1), decodes(2, offline=True)], [waits(3, offline=True)]))
    assert (plan.admit, plan.caps, plan.reason) == ((), {2: 0}, reason)


def test_a_limited_share_of_the_tokens_goes_to_offline_work() -> None:
    view = engine([decodes(1)], [waits(3, 5000, offline=True)])
    assert hygen(stage="full", budget_s=1.0).plan(view).caps == {3: 511}
    assert hygen(stage="share", share=0.25, budget_s=1.0).plan(view).caps == {3: 128}


def steps(policy: HyGen, seconds: float, count: int, *, offline: bool = True) -> StepPlan:
    """``count`` steps of ``seconds`` each, one online and one offline request decoding."""
    plan = StepPlan(1)
    for step in range(count):
        running = [decodes(1), *([decodes(2, offline=True)] if offline else [])]
        plan = policy.plan(engine(running, now_s=step * seconds, step_ends_s=step * seconds, step=step))
    return plan


def test_steps_that_are_not_as_predicted_take_offline_work_off_until_the_predictor_is_scaled() -> None:
    true_s = 2 * PREDICTOR.seconds(0, 510 + 510, 0, 2)
    off = steps(hygen(), true_s, 30)
    assert off.reason == "offline off: step times are not those that were predicted"
    assert off.caps == {2: 0}
    assert steps(hygen(), true_s, 120).reason == "online first, offline within the budget"
    assert steps(hygen(spread=0.0), true_s, 120).reason == "online first, offline within the budget"


def test_online_requests_that_miss_their_objectives_take_offline_work_off() -> None:
    slow = steps(hygen(spread=0.0, attainment=0.9), 0.2, 60)
    assert slow.reason == "offline off: online requests miss their objectives"
    assert slow.caps == {2: 0}
    assert steps(hygen(spread=0.0, attainment=0.9), 0.01, 60).caps is None


def test_the_budget_follows_what_is_observed() -> None:
    policy = hygen(spread=0.0, objective_s=0.02, budget_s=0.02)
    steps(policy, 0.03, 60)
    assert policy.budget_s < 0.02
    lowered = policy.budget_s
    steps(policy, 0.01, 2500)
    assert lowered < policy.budget_s <= 0.02


def test_where_no_online_request_is_left_nothing_keeps_offline_work_off() -> None:
    policy = hygen()
    steps(policy, 1.0, 30)
    plan = policy.plan(engine([decodes(2, offline=True)], now_s=31.0, step=31))
    assert plan.caps is None


class Plain:
    """The latency of the tests' predictor."""

    def seconds(self, step: Any) -> float:
        return PREDICTOR.seconds(step.prefill_tokens, step.decode_context, step.prefill_seqs, step.decode_seqs)


def test_without_weights_the_predictor_is_that_of_the_latency_model() -> None:
    class Twice(Plain):
        def seconds(self, step: Any) -> float:
            return 2 * super().seconds(step)

    view = engine([decodes(1)], [waits(id, 200, offline=True) for id in range(10, 20)], latency=Twice())
    assert list(HyGen(budget_s=0.025, sharing=0.0).plan(view).admit or ()) == [10, 11]


def test_sarathi_plus_fills_every_step_and_hygen_star_lets_in_at_its_rate() -> None:
    view = engine([decodes(1)], [waits(id, 100, offline=True) for id in range(10, 20)])
    assert len(SarathiPlus(chunk_tokens=512).plan(view).admit or ()) == 5
    star = HyGenStar(rate=1.0)
    assert list(star.plan(view).admit or ()) == [10]
    assert list(star.plan(engine([decodes(1)], departed=[10], now_s=0.5)).admit or ()) == []
    assert list(star.plan(engine([decodes(1)], now_s=2.5)).admit or ()) == [11, 12]


def test_a_batcher_like_conserve_keeps_to_the_objective_only_while_someone_is_online() -> None:
    backlog = [waits(id, 200, offline=True) for id in range(10, 20)]
    policy = ConServeLike(objective_s=0.025, chunk_tokens=1000)
    held_back = policy.plan(engine([decodes(1)], backlog, latency=Plain()))
    assert 0 < len(held_back.admit or ()) < 5
    alone = ConServeLike(objective_s=0.025, chunk_tokens=1000).plan(engine([], backlog, latency=Plain()))
    assert len(alone.admit or ()) == 5


@pytest.mark.parametrize(
    "given",
    [{"budget_s": 0.0}, {"chunk_tokens": 0}, {"sharing": 1.5}, {"stage": "half"}, {"headroom": 1.0}, {"weights": (1.0,)},
     {"objective_s": -1.0}, {"budget_s": math.nan}],
    ids=str,
)  # fmt: skip
def test_senseless_parameters_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        HyGen(**given)
    with pytest.raises(ValueError, match="rate"):
        HyGenStar(rate=0.0)
