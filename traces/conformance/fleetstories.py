"""Stories of fleets, for scalers: what a scaler is shown over a day, and on a bad one. What it answers changes nothing in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from policies.completions import completed
from policies.seating import Inventory, Seat
from policies.types import SLO, Arrivals, EngineState, Role
from policies.views import Engine, Fleet, Request

Engines = Callable[..., Engine]
"""Makes an engine up: id, now, running, waiting, model."""

_STATES = tuple(EngineState)


def fleet_of(engines: Sequence[Engine], now_s: float, held: Sequence[Request] = ()) -> Fleet:
    """With the inventory that follows from the engines' states, two GPUs each, and counters of a steady load on every model."""
    seats = {engine.id: Seat("h200", 2, start_up_s=30.0, usd_per_gpu_hour=3.0) for engine in engines}
    parked = sum(engine.state is EngineState.PARKED for engine in engines)
    came = int(8 * now_s)
    arrivals = tuple(
        Arrivals(model, "default", SLO(0.5, 0.05), False, came, 1000 * came, 200.0 * came)
        for model in dict.fromkeys(engine.model for engine in engines)
        if came
    )
    return Fleet.of_members(
        tuple(engines),
        now_s,
        held=tuple(held),
        inventory=Inventory({"h200": 2 * len(engines)}, {"h200": 2 * parked}, seats),
        arrivals=arrivals,
    )


def crowd_of_engines(engine: Engines, size: int) -> Fleet:
    """Half of them up, the others parked."""
    members = [
        engine(f"e{i}", 5.0, 4, 1) if i % 2 else _in_state(engine(f"e{i}", 5.0, 0, 0), EngineState.PARKED) for i in range(size)
    ]
    return fleet_of(members, 5.0)


def fleets(engine: Engines, request: Callable[..., Request]) -> list[tuple[str, str, list[Fleet]]]:
    """(name, what fills "on …", the views of the calls in a row)."""
    mixed = [
        replace(engine("p0", 3.0, 2, 0), role=Role.PREFILL),
        replace(engine("d0", 3.0, 9, 1), role=Role.DECODE),
        replace(engine("g0", 3.0, 3, 0), tier="gold"),
        engine("x0", 3.0, 3, 0, "another-model"),
        *(_in_state(engine(f"s{i}", 3.0, 0, 0, "another-model"), EngineState.PARKED) for i in range(2)),
    ]
    queue = [request(0.1) for _ in range(2000)]
    return [
        ("ordinary", "an ordinary run of eight engines", _day(engine, request)),
        ("empty-fleet", "a fleet without any engine", [fleet_of([], 1.0), fleet_of([], 2.0, [request(1.5)])]),
        (
            "all-parked",
            "a fleet that is parked as a whole",
            [_all(engine, EngineState.PARKED, now, request) for now in (1.0, 16.0)],
        ),
        (
            "all-failed",
            "a fleet that has failed as a whole",
            [_all(engine, EngineState.FAILED, now, request) for now in (1.0, 16.0)],
        ),
        ("512-engines", "512 engines", [crowd_of_engines(engine, 512)]),
        ("huge-queues", "2,000 requests held in the router", [fleet_of([engine("e0", 9.0, 8, 50)], 9.0, queue)]),
        ("mixed", "engines of several models, roles and tiers", [fleet_of(mixed, 3.0), fleet_of(mixed, 18.0, [request(17.0)])]),
    ]


def _day(engine: Engines, request: Callable[..., Request]) -> list[Fleet]:
    """Load that rises and falls while engines change their states."""
    views: list[Fleet] = []
    for turn in range(40):
        now = 15.0 * turn
        load = 40 - 2 * abs(20 - turn)
        members = []
        for i in range(8):
            state = _STATES[(turn // 3 + 2 * i) % len(_STATES)] if i > 2 else EngineState.ACTIVE
            up = state in (EngineState.ACTIVE, EngineState.DRAINING)
            members.append(_in_state(engine(f"e{i}", now, load if up else 0, turn % 4 if up else 0), state))
        done = tuple(completed(replace(held, generated_tokens=5 * turn), now) for view in views[-1:] for held in view.held)
        views.append(replace(fleet_of(members, now, [request(now - 0.2) for _ in range(turn % 5)]), completed=done))
    return views


def _all(engine: Engines, state: EngineState, now: float, request: Callable[..., Request]) -> Fleet:
    return fleet_of([_in_state(engine(f"e{i}", now, 0, 0), state) for i in range(4)], now, [request(now - 0.5)])


def _in_state(engine: Engine, state: EngineState) -> Engine:
    return replace(engine, state=state)
