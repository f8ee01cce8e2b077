"""HyGen where the engine speculates: draft tokens count into the step's budget."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.decisions import StepPlan
from policies.hygen.batcher import HyGen
from policies.hygen.drafts import DraftWatch
from policies.hygen.predictor import Predictor
from policies.hygen.seen import Seen
from policies.views import Request
from tests.policies.hygen.engines import WEIGHTS, decodes, engine, waits


def later(request: Request, steps: int, drafted: int, tokens: int) -> Request:
    """The request after so many steps of ``drafted`` draft tokens and ``tokens`` tokens each."""
    return replace(
        request,
        drafted_tokens=request.drafted_tokens + steps * drafted,
        generated_tokens=request.generated_tokens + steps * tokens,
        prefilled_tokens=request.prefilled_tokens + steps * tokens,
    )


def test_drafts_are_counted_per_decode_and_step_online_and_offline_apart() -> None:
    watch = DraftWatch()
    online, offline = decodes(1), decodes(2, offline=True)
    for step in range(0, 90, 3):  # a look every three steps
        shown = [later(online, step, 7, 5), later(offline, step, 2, 1)]
        watch.look(engine(shown, step=step), list(map(Seen, shown)))
    assert watch.online == pytest.approx(7, rel=1e-2)
    assert watch.offline == pytest.approx(2, rel=1e-2)
    assert watch.yielded == pytest.approx(5, rel=1e-2)


def test_who_got_nothing_in_a_step_sat_out_and_says_nothing_of_drafts() -> None:
    watch = DraftWatch()
    for step in range(40):
        shown = [later(decodes(1), step, 4, 2), decodes(2)]
        watch.look(engine(shown, step=step), list(map(Seen, shown)))
    assert watch.online == pytest.approx(4, rel=1e-2)


def admitted(drafted: int, drafting_s: float, *, spread: float = 0.0, budget_s: float = 0.0125) -> tuple[StepPlan, int]:
    """After 60 steps with drafts, each ``drafting_s`` longer than its tokens tell: the plan, and the offline tokens in it."""
    policy = HyGen(weights=WEIGHTS, chunk_tokens=512, sharing=0.0, budget_s=budget_s, spread=spread)
    now_s = 0.0
    for step in range(60):
        shown = later(decodes(1), step, drafted, 1)
        policy.plan(engine([shown], step=step, now_s=now_s))
        now_s += drafting_s + Predictor(WEIGHTS).seconds(drafted, shown.prefilled_tokens + 1, 0, 1)
    plan = policy.plan(engine([later(decodes(1), 60, drafted, 1)], arrived=[waits(9, 400, offline=True)], step=60, now_s=now_s))
    return plan, (plan.caps or {}).get(9, 400) if 9 in (plan.admit or ()) else 0


def test_offline_work_gets_what_drafts_leave_of_the_latency_budget() -> None:
    """60 draft tokens cost what 60 of a prompt cost, so that an offline chunk is smaller by as many."""
    assert admitted(0, 0.0)[1] - admitted(60, 0.0)[1] == pytest.approx(60, abs=2)


def test_passes_of_the_drafter_are_foreseen_and_paid_from_the_same_budget() -> None:
    """2 ms of drafting leave offline work what a budget 2 ms smaller leaves it."""
    assert admitted(60, 0.002)[1] == pytest.approx(admitted(60, 0.0, budget_s=0.0105)[1], abs=2)


def test_passes_of_the_drafter_are_no_drift() -> None:
    """Drafting takes as long again as all else."""
    plan, tokens = admitted(60, 0.012, spread=0.2, budget_s=0.03)
    assert tokens > 0
    assert "not those" not in plan.reason


def test_steps_that_turn_slow_beside_drafts_are_drift_still() -> None:
    policy = HyGen(weights=WEIGHTS, chunk_tokens=512, sharing=0.0, budget_s=0.03, spread=0.02)
    now_s, reasons = 0.0, []
    for step in range(60):
        reasons.append(policy.plan(engine([later(decodes(1), step, 60, 1)], step=step, now_s=now_s)).reason)
        now_s += 0.02 if step < 40 else 0.04
    drifted = ["not those that were predicted" in reason for reason in reasons]
    assert not any(drifted[:40])
    assert any(drifted[40:])


def test_a_plan_with_drafts_stands_for_one_step() -> None:
    policy = HyGen(weights=WEIGHTS, spread=0.0)
    plans = [policy.plan(engine([later(decodes(1), step, 4, 2)], step=step, now_s=0.01 * step)) for step in range(8)]
    assert plans[0].valid_steps > 1
    assert plans[-1].valid_steps == 1


def test_online_requests_meet_their_objective_when_several_tokens_come_at_once() -> None:
    """Steps of 80 ms that yield four tokens are 20 ms per token: within 50 ms."""
    for tokens, off in ((1, True), (4, False)):
        policy = HyGen(weights=WEIGHTS, spread=0.0, attainment=0.9)
        for step in range(200):
            plan = policy.plan(engine([later(decodes(1), step, 4, tokens)], step=step, now_s=0.08 * step))
        assert ("miss their objectives" in plan.reason) == off
