"""The placer at run time: what it chooses for each model out of the engines that there may be, and what it counts as demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from policies.decisions import Activate, Drain
from policies.intent import Intent
from policies.iserve.placer import Placer
from policies.iserve.rates import Rates
from policies.iserve.scaler import IServe
from policies.placement import Demand
from policies.seating import Inventory, Seat
from policies.types import SLO, Arrivals, EngineState
from policies.views import Engine, Fleet
from tests.policies.iserve.test_steady import LATENCY

LOOSE = SLO(ttft_s=5.0, tpot_s=0.5)
ONE, TWO = Seat("h200", 1, start_up_s=10.0, usd_per_gpu_hour=3.0), Seat("h200", 2, start_up_s=10.0, usd_per_gpu_hour=3.0)


class Faster:
    """Steps of half the time, as two GPUs give them."""

    def seconds(self, step):
        return LATENCY.seconds(step) / 2

    def seconds_many(self, *parts):
        return LATENCY.seconds_many(*parts) / 2


def fleet(
    engines: Sequence[tuple[str, Seat, EngineState]],
    gpus: int,
    now_s: float = 0.0,
    came: Mapping[str, int] | None = None,
    **intents,
) -> Fleet:
    members = [
        Engine(f"e{i}", model, state=state, latency=LATENCY if seat is ONE else Faster(), now_s=now_s)
        for i, (model, seat, state) in enumerate(engines)
    ]
    seats = {f"e{i}": seat for i, (_, seat, _) in enumerate(engines)}
    used = sum(seat.gpus for _, seat, state in engines if state is not EngineState.PARKED)
    arrivals = [Arrivals(model, "t", LOOSE, False, n, 1000 * n, 200.0 * n) for model, n in (came or {}).items()]
    inventory = Inventory({"h200": gpus}, {"h200": gpus - used}, seats)
    return Fleet.of_members(members, now_s, inventory=inventory, arrivals=arrivals, intents=intents)


def demand(model: str, rate: float = 1.0, intent: Intent | None = None) -> Demand:
    return Demand(model, "t", LOOSE, rate, 1000, 200, intent=intent)


PARKED, ACTIVE, STARTING = EngineState.PARKED, EngineState.ACTIVE, EngineState.STARTING
BOTH = [("a", ONE, PARKED), ("a", TWO, PARKED), ("b", ONE, PARKED), ("b", TWO, PARKED)]
FAST = Intent("min_latency")


def chosen(asked: Sequence[Demand], gpus: int, engines=BOTH) -> dict[str, tuple[int, int]]:
    found = Placer().place(asked, fleet(engines, gpus)).instances
    return {i.model: (i.count, i.tensor_parallel) for i in found}


def test_each_model_has_what_its_intent_asks_for() -> None:
    asked = [demand("a", intent=FAST), demand("b", intent=Intent("min_cost"))]
    assert chosen(asked, 4) == {"a": (1, 2), "b": (1, 1)}


def test_where_gpus_run_out_the_next_best_is_taken() -> None:
    asked = [demand("a", intent=FAST), demand("b", intent=FAST)]
    assert chosen(asked, 4) == {"a": (1, 2), "b": (1, 2)}
    assert chosen(asked, 3) == {"a": (1, 2), "b": (1, 1)}
    assert chosen(asked, 2) == {"a": (1, 1), "b": (1, 1)}, "nobody takes the room that another one needs"
    assert len(chosen(asked, 1)) == 1


def test_a_load_takes_as_many_engines_as_it_needs() -> None:
    several = [("a", ONE, PARKED)] * 6
    assert chosen([demand("a", 1.0)], 6, several) == {"a": (1, 1)}
    counts = [chosen([demand("a", rate)], 6, several)["a"][0] for rate in (1, 10, 20, 40)]
    assert counts == sorted(counts)
    assert counts[-1] > 1


def test_an_intent_that_nothing_serves_is_told_with_what_binds() -> None:
    placed = Placer().place([demand("a", intent=Intent("min_cost", latency_s=1e-3))], fleet(BOTH, 4))
    assert "no configuration keeps latency at most 1 ms" in placed.reason
    assert placed.instances


def test_rates_are_differences_of_counters() -> None:
    rates = Rates(window_s=10.0)
    for now, n in ((0.0, 0), (5.0, 10), (20.0, 100)):
        rates.look(fleet(BOTH, 4, now, {"a": n} if n else {}))
    (found,) = rates.demand(fleet(BOTH, 4, 20.0, {"a": 100}))
    assert found.rate_per_s == pytest.approx(90 / 15)
    assert (found.prompt_tokens, found.output_tokens) == (1000, 200)


def test_nothing_is_known_at_the_first_look() -> None:
    rates = Rates(window_s=10.0)
    rates.look(fleet(BOTH, 4, 0.0, {"a": 5}))
    assert not rates.demand(fleet(BOTH, 4, 0.0, {"a": 5}))


def test_an_engine_is_kept_when_the_load_has_risen_since_its_successor_was_started() -> None:
    scaler = IServe(period_s=1.0, window_s=5.0)
    a = [("a", ONE, ACTIVE), ("a", ONE, ACTIVE), ("a", TWO, PARKED)]
    scaler.scale(fleet(a, 4, 0.0, a=FAST))
    (up,) = scaler.scale(fleet(a, 4, 10.0, {"a": 20}, a=FAST)).changes
    assert (type(up), up.engine) == (Activate, "e2")
    later = [("a", ONE, ACTIVE), ("a", ONE, ACTIVE), ("a", TWO, ACTIVE)]
    calm = IServe(period_s=1.0, window_s=5.0)
    calm.scale(fleet(a, 4, 0.0, a=FAST))
    calm.scale(fleet(a, 4, 10.0, {"a": 20}, a=FAST))
    assert {type(c) for c in calm.scale(fleet(later, 4, 21.0, {"a": 42}, a=FAST)).changes} == {Drain}
    assert not scaler.scale(fleet(later, 4, 21.0, {"a": 2000}, a=FAST)).changes
