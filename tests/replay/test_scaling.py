"""Scalers, faults and hand-over on real engines, timed by hand; the engines are fake."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from policies.decisions import Activate, Assign, Drain, Hold, Move, Routing, Scale
from policies.seating import Seat
from policies.types import EngineState, FleetView, RequestView, Role
from replay.clock import Turn, VirtualClock, WallClock
from replay.faults import strike
from replay.fleet import Fleet
from replay.journal import Journal
from replay.lifecycle import Idle
from replay.request import Request
from tests.replay.test_fleet import FakeEngine, Routes, request
from tests.scripted import Script
from traces.errors import InputError
from traces.scenario.fleet import Faults

NEVER = float("inf")


class Scene:
    """Two engines, the second parked unless told otherwise, with start-up times."""

    def __init__(self, start_up_s: float = 1.0, *, parked: bool = True, roles: Sequence[Role] = (Role.BOTH, Role.BOTH)) -> None:
        self.clock, self.journal = VirtualClock(), Journal()
        self.router = Routes(self.first)
        self.fleet = Fleet(self.clock, self.router, self.journal, [Seat("h200")] * 2, retries=1)
        self.engines = [FakeEngine(index, role) for index, role in enumerate(roles)]
        if parked:
            self.engines[1].state = EngineState.PARKED
        self.fleet.set_engines(self.engines, Idle(self.clock, [start_up_s] * 2))

    @staticmethod
    def first(request: RequestView, fleet: FleetView) -> Routing:
        return Assign(fleet.engines[-1].id, "the last") if fleet.engines else Hold("nobody is up")

    def send(self, id: int, at_s: float = 0.0) -> Request:
        one = request(id)
        self.clock.call_at(at_s, Turn.ARRIVAL, lambda: self.fleet.dispatch(one))
        return one

    def states(self, engine: int = 1) -> list[tuple[float, str]]:
        return [(stage.time_s, str(stage.state)) for stage in self.journal.stages if stage.engine == engine]


def test_a_parked_engine_takes_its_time_to_come_up_and_then_serves() -> None:
    scene = Scene()
    scene.fleet.set_scaler(Script((0.5, [Activate("e1", "needed", "fast")])))
    one = scene.send(0, 1.5)
    scene.clock.play()
    assert scene.states() == [(0.0, "parked"), (0.5, "starting"), (1.5, "active")]
    assert scene.engines[1].requests == [one]
    assert scene.engines[1].tier == "fast"


def test_an_engine_without_start_up_time_is_up_at_once() -> None:
    scene = Scene(start_up_s=0.0)
    scene.fleet.set_scaler(Script((0.0, [Activate("e1", "needed")])))
    assert scene.states() == [(0.0, "parked"), (0.0, "active")]


def test_a_drained_engine_serves_what_it_has_and_is_parked_then() -> None:
    scene = Scene(parked=False)
    one = scene.send(0)
    scene.fleet.set_scaler(Script((0.5, [Drain("e1", "not needed")]), (2.0, [])))
    later = scene.send(1, 0.6)
    scene.clock.play(1.0)
    assert scene.engines[1].state is EngineState.DRAINING
    assert scene.engines[0].requests == [later]
    scene.engines[1].requests.remove(one)
    scene.fleet.on_finished(one, 1.0)
    assert scene.states() == [(0.0, "active"), (0.5, "draining"), (1.0, "parked")]


def test_an_engine_that_starts_can_be_taken_back_and_started_again() -> None:
    scene = Scene()
    scene.fleet.set_scaler(Script((0.0, [Activate("e1", "")]), (0.5, [Drain("e1", "")]), (0.7, [Activate("e1", "")])))
    scene.clock.play()
    assert scene.states() == [(0.0, "parked"), (0.0, "starting"), (0.5, "parked"), (0.7, "starting"), (1.7, "active")]


def test_a_moved_engine_is_seen_in_its_new_tier() -> None:
    scene = Scene()
    scene.fleet.set_scaler(Script((0.0, [Move("e0", "", "slow")])))
    assert [engine.tier for engine in scene.fleet.members] == ["slow", None]


def test_a_scaler_that_wants_to_is_asked_when_a_request_is_held() -> None:
    scene = Scene(parked=True)
    scene.router.answer = lambda request, fleet: Hold("full")
    scaler = Script(on_hold=True)
    scene.fleet.set_scaler(scaler)
    scene.send(0, 0.3)
    scene.clock.play()
    assert scaler.asked == [0.0, 0.3]


def test_while_a_policy_is_asked_the_wall_clock_stands_still() -> None:
    clock, seen = WallClock(), []

    class Looks:
        def scale(self, fleet: FleetView) -> Scale:
            seen.append((fleet.now_s, [fleet.now_s for _ in range(100)][-1]))
            return Scale()

    def answer(request: RequestView, fleet: FleetView) -> Routing:
        seen.append((fleet.now_s, [fleet.now_s for _ in range(100)][-1]))
        return Hold("")

    fleet = Fleet(clock, Routes(answer), Journal(), [Seat("h200")])
    fleet.set_engines([FakeEngine(0)])
    fleet.set_scaler(Looks())
    fleet.dispatch(request(0))
    assert len(seen) == 2
    assert all(first == last for first, last in seen)
    assert clock.now() < clock.now()


def test_an_impossible_change_ends_the_run_with_one_line() -> None:
    with pytest.raises(InputError, match=r"policy\.scaler: answers Activate for engine e0, which is active"):
        Scene().fleet.set_scaler(Script((0.0, [Activate("e0", "")])))


def test_requests_of_a_failed_engine_start_over_and_are_given_up_when_they_lose_another() -> None:
    scene = Scene(parked=False, start_up_s=0.25)
    events = [{"engine": "e1", "at": 1.0, "for": 0.5}, {"engine": "e0", "at": 1.1}]
    strike(scene.clock, scene.engines, Faults.model_validate({"events": events}), 0, scene.fleet.fail)
    one = scene.send(0)
    scene.clock.call_at(0.5, Turn.STEP_END, lambda: scene.fleet.on_token(one, 2, 0.5))
    scene.clock.play()
    assert scene.states() == [(0.0, "active"), (1.0, "failed"), (1.5, "starting"), (1.75, "active")]
    assert scene.states(0) == [(0.0, "active"), (1.1, "failed")]
    assert (one.outcome, one.attempts, one.generated_tokens) == ("failed", 2, 2)
    losses = scene.fleet.losses
    assert (losses.failures, losses.retried, losses.given_up) == (2, 1, 1)


def test_random_faults_come_at_the_same_times_whatever_the_run() -> None:
    def history(shift: float) -> list[tuple[float, str]]:
        scene = Scene(parked=False, start_up_s=0.0)
        faults = Faults.model_validate({"mtbf": 2.0, "mttr": 0.5})
        strike(scene.clock, scene.engines, faults, 7, scene.fleet.fail)
        scene.send(0, shift)
        scene.clock.play(20.0)
        return scene.states()

    assert history(0.0) == history(1.0)
    assert len(history(0.0)) > 4


def test_a_router_is_asked_again_where_a_prefilled_request_decodes() -> None:
    scene = Scene(parked=False, roles=(Role.PREFILL, Role.DECODE))
    seen: list[tuple[str | None, list[str]]] = []

    def answer(request: RequestView, fleet: FleetView) -> Routing:
        seen.append((request.kv_engine, [engine.id for engine in fleet.engines]))
        return scene.first(request, fleet)

    scene.router.answer = answer
    one = scene.send(0)
    scene.clock.play()
    scene.engines[0].requests.remove(one)
    scene.fleet.on_token(one, 1, 0.0)
    scene.fleet.on_prefilled(one, 0.0)
    scene.clock.play()
    assert seen == [(None, ["e0"]), ("e0", ["e1"])]
    assert scene.engines[1].requests == [one]
    assert (one.engine, one.kv_engine, scene.fleet.hand_overs) == ("e1", None, 1)


def test_a_request_whose_prefill_engine_fails_while_it_is_held_starts_over() -> None:
    scene = Scene(parked=False, roles=(Role.PREFILL, Role.DECODE))
    scene.router.answer = lambda request, fleet: Assign("e0", "") if request.kv_engine is None else Hold("full")
    one = scene.send(0)
    scene.clock.play()
    scene.engines[0].requests.remove(one)
    scene.fleet.on_prefilled(one, 0.0)
    scene.clock.play()
    scene.router.answer = lambda request, fleet: Hold("nobody prefills")
    scene.fleet.fail(scene.engines[0], NEVER)  # type: ignore[arg-type]
    assert [(held.id, held.kv_engine) for held in scene.fleet.held] == [(0, None)]
    assert one.attempts == 1
