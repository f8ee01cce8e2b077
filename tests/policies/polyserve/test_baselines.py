"""What PolyServe is compared with: routers without tiers, QoServe's steps, the fixed fleet, and the optimum."""

from __future__ import annotations

from typing import Any

import pytest

from policies.decisions import Move
from policies.polyserve.baselines import Llumnix, Minimal
from policies.polyserve.fixed import Fixed, apportion
from policies.polyserve.optimal import (
    EngineRoom,
    Lengths,
    costs_s,
    decode_cost_s,
    largest_batch,
    optimal_rate,
    optimal_rate_apart,
)
from policies.polyserve.qoserve import QoServe
from policies.types import SLO, Role
from policies.views import Engine, Fleet, Request
from tests.policies.polyserve.test_admission import LINEAR, engine, request

ROOM = EngineRoom(max_seqs=1000, max_batched_tokens=8192, kv_tokens=1_000_000)


def chosen(router: Any, *engines: Engine) -> str:
    return str(router.route(request(), Fleet(engines)).engine)


def test_minimal_takes_the_shortest_next_step_and_on_prefill_engines_the_least_to_do() -> None:
    assert chosen(Minimal(), engine(5, 1000, id="e0"), engine(40, 10, id="e1")) == "e1"
    waits = {"role": Role.PREFILL, "running_count": 0}
    prefillers = engine(id="p0", pending_prefill_tokens=900, **waits), engine(id="p1", pending_prefill_tokens=100, **waits)
    assert chosen(Minimal(), *prefillers) == "p1"


def test_llumnix_takes_the_most_free_memory_per_request_and_counts_what_waits() -> None:
    assert chosen(Llumnix(), engine(10, 1000, id="e0"), engine(20, 100, id="e1")) == "e0"  # 9,000 against 4,900 per request
    crowded = engine(10, 1000, id="e0", pending_prefill_tokens=60_000)
    assert chosen(Llumnix(), crowded, engine(20, 100, id="e1")) == "e1"


def prompt(id: int, tokens: int, ttft: float, arrival: float = 0.0) -> Request:
    return Request(id=id, prompt_tokens=tokens, slo=SLO(ttft_s=ttft, tpot_s=0.05), arrival_s=arrival)


def deciding(*requests: Request, now: float = 0.0, decodes: tuple[Request, ...] = ()) -> Engine:
    values = {"running": decodes, "running_count": len(decodes), "waiting": requests, "waiting_count": len(requests)}
    return Engine(latency=LINEAR, now_s=now, pending_prefill_tokens=sum(r.prompt_tokens for r in requests), **values)  # type: ignore[arg-type]


def test_qoserve_orders_prompts_by_deadline_and_length_behind_the_decodes() -> None:
    decode = Request(id=9, prompt_tokens=10, prefilled_tokens=10, generated_tokens=1, slo=SLO(ttft_s=1.0, tpot_s=0.05))
    plan = QoServe().plan(deciding(prompt(1, 2000, 1.0), prompt(2, 10, 5.0), prompt(3, 10, 1.0), decodes=(decode,)))
    assert plan.order == [9, 3, 2, 1]  # keys: 1.08, 5.08 and 17 s: 8 ms per token of prompt


def test_qoserve_sends_a_prompt_that_is_late_anyway_behind_all_others_for_good() -> None:
    scheduler = QoServe()
    hopeless, easy = prompt(1, 5000, 0.01), prompt(2, 3000, 10.0)
    assert scheduler.plan(deciding(hopeless, easy)).order == [2, 1]
    assert scheduler.plan(deciding(Request(id=1, prompt_tokens=10, slo=SLO(ttft_s=9.0)), easy)).order == [2, 1]


def test_qoserve_takes_the_largest_step_of_its_grid_within_the_slack_of_its_decodes() -> None:
    # The next token is due 31 ms from now; 1,536 tokens take 10 + 15.36 ms, times 1.2 = 30.4; 1,792 would take 33.5.
    due = Request(id=9, prompt_tokens=10, prefilled_tokens=10, generated_tokens=1, slo=SLO(ttft_s=0.5, tpot_s=0.05))
    plan = QoServe().plan(deciding(prompt(1, 6000, 1.0), now=0.5 + 0.05 - 0.031, decodes=(due,)))
    assert plan.token_budget == 1536
    assert QoServe().plan(deciding(prompt(1, 6000, 1.0))).token_budget == 8192


def test_engines_are_apportioned_by_largest_remainder_with_one_for_every_tier() -> None:
    assert apportion({"20ms": 1.0, "50ms": 2.6, "100ms": 0.1}, 8) == {"20ms": 2, "50ms": 5, "100ms": 1}
    assert apportion({"20ms": 3.0, "50ms": 2.0, "100ms": 1.0}, 2) == {"20ms": 1, "50ms": 1}
    assert apportion({}, 4) == {}


def asking(tpot: float, id: int, arrival: float) -> Request:
    return Request(id=id, slo=SLO(ttft_s=0.5, tpot_s=tpot), arrival_s=arrival, prompt_tokens=1000, expected_output_tokens=100)


def test_a_fixed_fleet_is_dealt_out_by_demand_and_dealt_anew_when_two_rounds_agree() -> None:
    scaler = Fixed(period_s=10, sample_s=1)
    tiers: dict[str, str | None] = {f"e{i}": None for i in range(4)}
    for now in range(0, 90):
        heavy = 0.02 if now < 25 else 0.1
        many = (asking(heavy, 1000 * now + i, now - 0.5) for i in range(9))
        arrived = (*many, asking(0.12 - heavy, 1000 * now + 9, now - 0.6))
        busy = [_member(id, tier, arrived) for id, tier in tiers.items()]
        for change in scaler.scale(Fleet.of_members(busy, float(now))).changes:
            assert isinstance(change, Move)
            tiers[change.engine] = change.tier
        if now == 24:
            assert sorted(map(str, tiers.values())) == ["100ms", "20ms", "20ms", "20ms"]
    assert sorted(map(str, tiers.values())) == ["100ms", "100ms", "100ms", "20ms"]


def _member(id: str, tier: str | None, arrived: tuple[Request, ...]) -> Engine:
    """An engine; the first holds all requests."""
    mine = arrived if id == "e0" else ()
    return Engine(id=id, tier=tier, running=mine, waiting=(), running_count=len(mine), latency=LINEAR)


def test_a_tier_without_an_engine_gets_one_from_the_richest_at_once() -> None:
    scaler = Fixed()
    members = [_member(f"e{i}", "100ms", ()) for i in range(3)]
    scaler.scale(Fleet.of_members(members, 0.0))
    change = scaler.scale(Fleet.of_members(members, 0.5, held=(asking(0.02, 1, 0.4),))).changes
    assert [(c.engine, c.tier) for c in change] == [("e0", "20ms")]  # type: ignore[union-attr]


def test_the_largest_batch_is_the_one_whose_step_just_takes_the_budget() -> None:
    # 10 ms + 10 µs and 1,000 KV tokens of 1 µs each per request: 39 requests take 49.39 ms, 40 would take 50.4.
    lengths = Lengths(prompt=900, output=200, context=1000, attended=450)
    assert largest_batch(LINEAR, ROOM, lengths, 0.05, prefill=False) == 39
    assert largest_batch(LINEAR, EngineRoom(20, 8192, 1_000_000), lengths, 0.05, prefill=False) == 20
    assert largest_batch(LINEAR, EngineRoom(1000, 8192, 10_000), lengths, 0.05, prefill=False) == 10
    with_prompts = largest_batch(LINEAR, ROOM, lengths, 0.05, prefill=True)  # 4.5 prompt tokens for each decode: 45 µs more
    assert with_prompts == 37
    step = 10e-3 + 37 * (10e-6 * (1 + 900 / 200) + 1000e-6)
    assert decode_cost_s(LINEAR, ROOM, lengths, 0.05, prefill=True) == pytest.approx(200 * step / 37, rel=1e-3)


def test_a_batch_that_memory_bounds_does_not_take_all_of_its_budget() -> None:
    lengths, small = Lengths(prompt=900, output=200, context=1000, attended=450), EngineRoom(1000, 8192, 10_000)
    tight, loose = (decode_cost_s(LINEAR, small, lengths, tpot, prefill=False) for tpot in (0.03, 0.1))
    assert tight == loose == pytest.approx(200 * (10e-3 + 10 * 1010e-6) / 10)


def test_looser_tiers_cost_less_and_the_optimum_is_linear_in_engines() -> None:
    lengths = Lengths(prompt=900, output=200, context=1000, attended=450)
    costs = [sum(costs_s(LINEAR, ROOM, lengths, tpot)) for tpot in (0.02, 0.05, 0.1)]
    assert costs == sorted(costs, reverse=True)
    mix = {0.02: 0.5, 0.1: 0.5}
    assert optimal_rate(20, mix, LINEAR, ROOM, lengths) == pytest.approx(2 * optimal_rate(10, mix, LINEAR, ROOM, lengths))
    rate, prefillers = optimal_rate_apart(20, mix, LINEAR, ROOM, lengths)
    assert 1 <= prefillers < 20
    assert 0 < rate <= 20 / (0.5 * sum(costs_s(LINEAR, ROOM, lengths, 0.02)) + 0.5 * sum(costs_s(LINEAR, ROOM, lengths, 0.1)))
