"""PolyServe's router, scaler and batcher on fleets made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from policies.decisions import Activate, Assign, Drain, Hold, Move
from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, StepShape
from policies.polyserve.batcher import PolyServe as Batcher
from policies.polyserve.router import PolyServe as Router
from policies.polyserve.scaler import PolyServe as Scaler
from policies.types import SLO, EngineState, Role
from policies.views import Engine, Fleet, Request
from tests.policies.polyserve.test_admission import LINEAR, engine, request


def fleet(*engines: Engine, now_s: float = 0.0) -> Fleet:
    return Fleet(engines, now_s)


def named(id: str, tier: str | None, running: int = 0, context: int = 100, **rest: Any) -> Engine:
    return engine(running, context, id=id, tier=tier, **rest)


def test_a_request_goes_to_the_fullest_engine_of_its_tier_that_still_attains() -> None:
    route = Router().route
    engines = (named("e0", "50ms", 3), named("e1", "50ms", 9), named("e2", "50ms", 300, 200), named("e3", "20ms", 20))
    decision = route(request(tpot=0.05), fleet(*engines))
    assert decision == Assign("e1", "fullest engine of 50ms that attains the objectives")


def test_it_is_promoted_to_the_tightest_tier_that_takes_it_only_when_its_own_is_full() -> None:
    full = named("e0", "50ms", 300, 200)
    tight, middle = named("e1", "20ms", 1), named("e2", "30ms", 1)
    assert Router().route(request(tpot=0.05), fleet(full, tight, middle)).engine == "e1"  # type: ignore[union-attr]
    assert Router(promotion=False).route(request(tpot=0.05), fleet(full, tight, middle)) == Hold(
        "no engine of 50ms or tighter attains the objectives", queue="50ms"
    )


def test_the_loosest_of_the_tighter_tiers_may_be_asked_first() -> None:
    engines = (named("e0", "50ms", 300, 200), named("e1", "20ms", 1), named("e2", "30ms", 1))
    assert Router(hosts="loosest").route(request(tpot=0.05), fleet(*engines)).engine == "e2"  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="tightest or loosest"):
        Router(hosts="any")  # type: ignore[arg-type]


def test_a_guest_is_judged_with_its_hosts_budget() -> None:
    full = named("e0", "50ms", 300, 200)
    host = named("e1", "20ms", 40, 150)  # one more would take its steps beyond 20 ms, though not beyond 50 ms
    assert isinstance(Router().route(request(tpot=0.05), fleet(full, host)), Hold)
    assert Router().route(request(tpot=0.05), fleet(full, named("e1", "30ms", 40, 150))).engine == "e1"  # type: ignore[union-attr]


def test_a_tight_request_never_goes_to_a_looser_tier() -> None:
    assert isinstance(Router().route(request(tpot=0.02), fleet(named("e0", "50ms"))), Hold)


def test_an_engine_of_no_tier_serves_all() -> None:
    assert Router().route(request(tpot=0.02), fleet(named("e0", None))).engine == "e0"  # type: ignore[union-attr]


def test_a_request_that_is_late_anyway_is_placed_where_it_hurts_no_one() -> None:
    late = request(ttft=0.3, tpot=0.05)
    present = {"now_s": 1.0, "step_ends_s": 1.0}
    assert Router().route(late, fleet(named("e0", "50ms", 2, **present), now_s=1.0)).engine == "e0"  # type: ignore[union-attr]
    assert isinstance(Router().route(late, fleet(named("e0", "50ms", 300, 200, **present), now_s=1.0)), Hold)


def test_an_engine_of_no_tier_keeps_the_tightest_budget_it_was_given_until_it_is_empty() -> None:
    # 30 decodes of 1,000 tokens take 40 ms and more: within 100 ms, beyond 20 ms.
    router, full = Router(), {"running_count": 30, "kv_tokens_used": 30_000}
    crowded, empty = named("e0", None, **full), named("e0", None)
    assert isinstance(Router().route(request(tpot=0.1), fleet(crowded)), Assign)
    assert isinstance(router.route(request(tpot=0.02), fleet(empty)), Assign)
    assert isinstance(router.route(request(tpot=0.1), fleet(crowded)), Hold)
    assert isinstance(router.route(request(tpot=0.1), fleet(empty)), Assign)
    assert isinstance(router.route(request(tpot=0.1), fleet(crowded)), Assign)


def test_where_prefill_is_apart_it_goes_to_the_fullest_engine_in_time_or_else_the_earliest() -> None:
    engines = [
        named(f"p{i}", None, pending_prefill_tokens=tokens, role=Role.PREFILL) for i, tokens in enumerate((0, 20_000, 200_000))
    ]
    assert Router().route(request(ttft=0.5), fleet(*engines)).engine == "p1"  # type: ignore[union-attr]
    assert Router().route(request(ttft=0.001), fleet(*engines)).engine == "p0"  # type: ignore[union-attr]


def held(tpot: float, id: int = 0) -> Request:
    return Request(id=id, slo=SLO(ttft_s=0.5, tpot_s=tpot))


def members(*engines: Engine, now_s: float = 0.0, held: tuple[Request, ...] = ()) -> Fleet:
    return Fleet.of_members(engines, now_s, held=held)


def test_a_tier_that_waits_gets_an_engine_of_no_tier_first_and_a_parked_one_last() -> None:
    parked = named("e0", None, state=EngineState.PARKED)
    draining = named("e1", "30ms", state=EngineState.DRAINING)
    free = named("e2", None)
    waiting = (held(0.02),)
    change = Scaler().scale(members(parked, draining, free, held=waiting)).changes[0]
    assert change == Move("e2", "1 requests of 20ms are held", "20ms")
    change = Scaler().scale(members(parked, draining, held=waiting)).changes[0]
    assert change == Activate("e1", "1 requests of 20ms are held", "20ms")
    assert Scaler().scale(members(parked, held=waiting)).changes[0].engine == "e0"


def test_while_an_engine_starts_no_second_one_does_unless_many_wait() -> None:
    starting = named("e0", "20ms", state=EngineState.STARTING)
    parked = named("e1", None, state=EngineState.PARKED)
    few, many = tuple(held(0.02, i) for i in range(32)), tuple(held(0.02, i) for i in range(33))
    assert Scaler().scale(members(starting, parked, held=few)).changes == ()
    assert [change.engine for change in Scaler().scale(members(starting, parked, held=many)).changes] == ["e1"]


def test_tiers_do_not_take_the_same_engine_and_the_tightest_chooses_first() -> None:
    waiting = (held(0.1, 0), held(0.02, 1))
    changes = Scaler().scale(members(named("e0", None), named("e1", None), held=waiting)).changes
    assert [(change.engine, change.tier) for change in changes] == [("e0", "20ms"), ("e1", "100ms")]  # type: ignore[union-attr]


def test_a_tier_without_a_host_takes_an_engine_of_the_looser_tier_with_the_most_when_the_pool_is_empty() -> None:
    engines = (named("e0", "100ms", 5), named("e1", "100ms", 2), named("e2", "50ms", 1))
    change = Scaler().scale(members(*engines, held=(held(0.02),))).changes
    assert change == (Move("e1", "no engine for 20ms, 100ms has the most", "20ms"),)
    assert Scaler().scale(members(*engines, held=(held(0.05),))).changes == ()
    assert Scaler().scale(members(*engines, held=(held(0.1),))).changes == ()  # a tighter tier may host it


def test_the_emptiest_engine_of_a_tier_is_drained_after_two_looks_without_a_request_of_the_tier() -> None:
    scaler = Scaler(period_s=10)
    guest = Request(slo=SLO(tpot_s=0.05))
    last = Engine(id="e1", tier="20ms", running=(guest,), waiting=(), running_count=1)
    busy = Engine(id="e0", tier="20ms", running=(held(0.02), held(0.02, 1)), waiting=(), running_count=2)
    first = scaler.scale(members(busy, last))
    assert (first.changes, first.next_at_s) == ((), 10)
    assert scaler.scale(members(busy, last, now_s=3)).changes == ()  # asked early: this is not a look
    assert scaler.scale(members(busy, last, now_s=10)).changes == (Drain("e1", "no request of 20ms at 2 looks"),)


def test_a_request_of_the_tier_between_two_looks_starts_the_count_anew() -> None:
    scaler = Scaler(period_s=10)
    empty = Engine(id="e0", tier="20ms", running=(), waiting=())
    busy = Engine(id="e0", tier="20ms", running=(held(0.02),), waiting=(), running_count=1)
    seen = [scaler.scale(members(one, now_s=10.0 * i)).changes for i, one in enumerate((empty, busy, empty, empty))]
    assert [len(changes) for changes in seen] == [0, 0, 0, 1]


def test_the_chunk_is_what_the_tightest_objective_on_the_engine_leaves() -> None:
    tight = Request(id=1, prompt_tokens=1000, prefilled_tokens=1000, slo=SLO(tpot_s=0.03))
    loose = Request(id=2, prompt_tokens=1000, prefilled_tokens=1000, slo=SLO(tpot_s=0.1))
    new = Request(id=3, prompt_tokens=5000)
    # 30 ms less 10 ms less 2 ms of context leave 1,800 tokens, 2 of them the decodes.
    values = {"running_count": 2, "running": (tight, loose), "waiting": (new,), "waiting_count": 1, "pending_prefill_tokens": 5000}
    values["kv_tokens_used"] = 2000
    plan = Batcher().plan(Engine(latency=LINEAR, **values))  # type: ignore[arg-type]
    assert 1800 - 16 <= plan.token_budget <= 1800
    assert plan.valid_steps == 1
    with_margin = Batcher(margin=0.1).plan(Engine(latency=LINEAR, **values))  # type: ignore[arg-type]
    assert plan.token_budget - with_margin.token_budget == pytest.approx(300, abs=32)


def test_a_step_of_several_prompts_fills_its_budget_with_what_each_attends_to() -> None:
    steep = FingerprintLatency(Fingerprint.linear(overhead_s=10e-3, per_token_s=10e-6, per_prefill_attention_s=5e-9))
    decode = Request(id=1, prompt_tokens=100, prefilled_tokens=100, slo=SLO(tpot_s=0.04))
    nearly = Request(id=2, prompt_tokens=6000, prefilled_tokens=5900)
    waiting = tuple(Request(id=3 + i, prompt_tokens=200) for i in range(20))
    values = {"running_count": 2, "running": (decode, nearly), "waiting": waiting, "pending_prefill_tokens": 4100}
    plan = Batcher().plan(Engine(latency=steep, kv_tokens_used=6000, **values))  # type: ignore[arg-type]
    chunk = plan.token_budget - 1
    whole, rest = divmod(chunk - 100, 200)
    attention = 100 * 5950 + whole * 200 * 100 + rest * rest / 2
    step = steep.seconds(StepShape(chunk, attention, 2 + whole, 1, 100))
    assert 0.04 - 17 * 11e-6 <= step <= 0.04


def test_prompts_get_on_even_where_decodes_use_up_the_budget() -> None:
    tight = Request(id=1, prompt_tokens=50_000, prefilled_tokens=50_000, slo=SLO(tpot_s=0.03))
    values = {"running_count": 1, "running": (tight,), "waiting": (Request(id=2),), "pending_prefill_tokens": 1000}
    values["kv_tokens_used"] = 50_000
    assert Batcher(min_chunk=64).plan(Engine(latency=LINEAR, **values)).token_budget == 65  # type: ignore[arg-type]


def test_without_prompts_or_objectives_a_step_takes_all_and_the_plan_stands() -> None:
    decode = Request(id=1, prompt_tokens=10, prefilled_tokens=10)
    alone = Engine(latency=LINEAR, running_count=1, running=(decode,), waiting=())
    assert Batcher().plan(alone).token_budget == alone.max_batched_tokens
    assert Batcher().plan(alone).valid_steps == float("inf")
