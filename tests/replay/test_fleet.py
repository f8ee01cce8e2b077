"""The fleet carries out what its router says, whatever the engines are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.decisions import Assign, Hold, Routing, Shed
from policies.seating import Seat
from policies.types import EngineState, FleetView, RequestView, Role
from policies.views import Engine as EngineFacts
from replay.clock import Turn, VirtualClock
from replay.fleet import Fleet
from replay.journal import Journal
from replay.request import Request
from traces.errors import InputError
from traces.workload import RequestClass


class FakeEngine:
    """Keeps what it is sent. ``view`` is made anew whenever it is asked for."""

    def __init__(self, index: int, role: Role = Role.BOTH) -> None:
        self.id, self.index, self.model, self.role = f"e{index}", index, "m", role
        self.state = EngineState.ACTIVE
        self.tier: str | None = None
        self.requests: list[Request] = []
        self.closed = False

    @property
    def view(self) -> EngineFacts:
        return EngineFacts(
            id=self.id,
            state=self.state,
            role=self.role,
            tier=self.tier,
            waiting_count=len(self.requests),
            running=(),
            waiting=tuple(self.requests),
        )

    @property
    def empty(self) -> bool:
        return not self.requests

    def submit(self, request: Request) -> None:
        self.requests.append(request)

    def abort(self, request: Request) -> None:
        self.requests.remove(request)

    def lose(self) -> list[Request]:
        lost, self.requests = self.requests, []
        return lost

    def close(self) -> None:
        self.closed = True


class Routes:
    def __init__(self, answer: Callable[[RequestView, FleetView], Routing]) -> None:
        self.answer = answer
        self.asked: list[int] = []

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        self.asked.append(request.id)
        return self.answer(request, fleet)


def request(id: int) -> Request:
    return Request(id, RequestClass(model="m"), 0, float(id), 100, 5)


def built(
    answer: Callable[[RequestView, FleetView], Routing], **knobs: float
) -> tuple[Fleet, list[FakeEngine], Routes, VirtualClock]:
    clock, journal, routes = VirtualClock(), Journal(), Routes(answer)
    fleet = Fleet(clock, routes, journal, [Seat("h200", 2)] * 2, **knobs)
    engines = [FakeEngine(0), FakeEngine(1)]
    fleet.set_engines(engines)
    return fleet, engines, routes, clock


def test_a_request_goes_where_the_router_says() -> None:
    fleet, engines, _, _ = built(lambda request, fleet: Assign("e1", "because"))
    one = request(0)
    fleet.dispatch(one)
    assert engines[1].requests == [one]
    assert one.engine == "e1"
    fleet.on_token(one, 2, 1.5)
    fleet.on_finished(one, 1.5)
    assert (one.outcome, one.generated_tokens, one.first_token_s, fleet.done) == ("completed", 2, 1.5, 1)


def test_a_shed_request_is_done_and_its_loop_is_told() -> None:
    fleet, _, _, _ = built(lambda request, fleet: Shed("full"))
    told: list[Request] = []
    fleet.on_done = told.append
    fleet.dispatch(request(0))
    assert [(one.outcome, one.reason) for one in told] == [("shed", "full")]


@pytest.mark.parametrize("answer", [Assign("e7", "?"), "e0", None])
def test_an_illegal_answer_ends_the_run_with_one_line(answer: object) -> None:
    fleet, _, _, _ = built(lambda request, fleet: answer)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match=r"policy\.router"):
        fleet.dispatch(request(0))


def test_an_engine_that_is_not_active_takes_no_request() -> None:
    fleet, engines, _, _ = built(lambda request, fleet: Assign("e0", "?"))
    engines[0].state = EngineState.DRAINING
    assert [engine.id for engine in fleet.engines] == ["e1"]
    with pytest.raises(InputError, match="not an active engine"):
        fleet.dispatch(request(0))


def test_held_requests_are_offered_again_when_one_finishes_and_when_an_engine_changes() -> None:
    room = [False]
    fleet, engines, routes, clock = built(lambda request, fleet: Assign("e0", "") if room[0] else Hold("full"))
    for id in range(3):
        fleet.dispatch(request(id))
    assert [one.id for one in fleet.held] == [0, 1, 2]
    fleet.on_finished(request(9), 1.0)
    fleet.on_finished(request(8), 1.0)
    clock.play()
    assert routes.asked == [0, 1, 2, 0, 1, 2]  # once for both
    room[0] = True
    fleet.on_state(engines[0])
    clock.play()
    assert [one.id for one in engines[0].requests] == [0, 1, 2]
    assert not fleet.held


def test_a_router_is_told_once_of_every_request_that_has_completed_and_a_failed_one_has_not() -> None:
    told: list[list[tuple[int, int]]] = []

    def answer(request: RequestView, fleet: FleetView) -> Routing:
        told.append([(done.id, done.output_tokens) for done in fleet.completed])
        return Assign("e0", "")

    fleet, _, _, _ = built(answer)
    first, second = request(0), request(1)
    fleet.dispatch(first)
    fleet.dispatch(second)
    fleet.on_token(first, 3, 1.0)
    fleet.on_finished(first, 1.0)
    fleet.on_failed(second, 1.0, "lost")
    fleet.dispatch(request(2))
    fleet.dispatch(request(3))
    assert told == [[], [], [(0, 3)], []]


def test_of_a_named_queue_only_the_first_is_offered_again() -> None:
    fleet, engines, routes, clock = built(lambda request, fleet: Hold("full", queue="a" if request.id < 3 else "b"))
    for id in range(5):
        fleet.dispatch(request(id))
    routes.asked.clear()
    fleet.on_state(engines[0])
    clock.play()
    assert routes.asked == [0, 3]
    routes.answer = lambda request, fleet: Assign("e0", "") if request.id == 0 else Hold("full", queue="a")
    routes.asked.clear()
    fleet.on_state(engines[0])
    clock.play()
    assert routes.asked == [0, 1, 3, 4]  # 3 has left its queue for another, so 4 is the first


def test_a_request_that_its_engine_lost_has_failed_and_stays_so() -> None:
    fleet, _, _, _ = built(lambda request, fleet: Assign("e0", ""))
    one = request(0)
    fleet.dispatch(one)
    fleet.on_failed(one, 1.0, "the server is gone")
    fleet.on_finished(one, 1.1)
    assert (one.outcome, one.reason, fleet.done) == ("failed", "the server is gone", 1)


def test_at_the_end_everybody_has_an_outcome() -> None:
    fleet, engines, _, _ = built(lambda request, fleet: Assign("e0", "") if request.id else Hold("wait"))
    both = [request(0), request(1)]
    for one in both:
        fleet.dispatch(one)
    fleet.close()
    assert [one.outcome for one in both] == ["unfinished", "unfinished"]
    assert all(engine.closed for engine in engines)


def test_between_refreshes_the_router_sees_old_engines_and_what_it_has_sent_itself() -> None:
    seen: list[tuple[int, float]] = []

    def answer(request: RequestView, fleet: FleetView) -> Routing:
        seen.append((fleet.engines[0].waiting_count, fleet.engines[0].as_of_s))
        return Assign("e0", "")

    fleet, engines, _, clock = built(answer, observe_s=1.0)
    for id, time_s in enumerate([0.0, 0.2, 0.4, 1.2]):
        clock.call_at(time_s, Turn.ARRIVAL, lambda id=id: fleet.dispatch(request(id)))
    clock.call_at(0.3, Turn.STEP_END, engines[0].requests.clear)  # which the router does not see before the next refresh
    clock.play(1.5)
    assert [count for count, _ in seen] == [0, 1, 2, 1]


def test_the_inventory_counts_gpus_of_parked_engines_as_free() -> None:
    fleet, engines, _, _ = built(lambda request, fleet: Hold(""))
    engines[1].state = EngineState.PARKED
    assert (dict(fleet.inventory.total), dict(fleet.inventory.free)) == ({"h200": 4}, {"h200": 2})
    assert [engine.id for engine in fleet.idle] == ["e1"]
    assert len(fleet.members) == 2
