"""Routing in the simulated world: what a router sees, and what becomes of its decisions."""

from __future__ import annotations

import numpy as np
import pytest

from policies.decisionlog import Full, Summary
from policies.decisions import Assign, Hold, Routing, Shed
from policies.routers import LeastLoaded, RoundRobin
from policies.types import FleetView, RequestView
from sim.journal import COMPLETED, SHED, UNFINISHED
from sim.scheduler import EngineLimits
from tests.sim.cluster import play
from traces.workload import RequestClass, Workload

ONE = (RequestClass(model="m"),)
STEP = {"overhead_s": 0.25}


class Spy:
    """Passes on to another router, and notes what it saw."""

    def __init__(self, router: object, look: object) -> None:
        self.router, self.look, self.seen = router, look, []

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        self.seen.append(self.look(fleet))
        return self.router.route(request, fleet)


def test_a_view_is_as_old_as_the_last_refresh_but_knows_what_the_router_sent() -> None:
    """Refreshed every second. Arrivals at 0.1 and 0.4 s see engines as of 0 s, with the first request already sent to e0."""
    spy = Spy(
        RoundRobin(),
        lambda fleet: [(e.as_of_s, e.waiting_count, e.running_count, e.pending_prefill_tokens, e.step) for e in fleet.engines],
    )
    workload = Workload.make([0.1, 0.4, 1.0], [4, 4, 4], [20, 20, 1], classes=ONE)
    play(workload, engines=2, router=spy, observe_s=1.0, step=STEP)
    assert spy.seen[0] == [(0.0, 0, 0, 0, 0), (0.0, 0, 0, 0, 0)]
    assert spy.seen[1] == [(0.0, 1, 0, 4, 0), (0.0, 0, 0, 0, 0)]
    # at 1 s it is refreshed before the arrival is routed: e0 has ended steps at 0.35, 0.6, 0.85, e1 at 0.65 and 0.9
    assert spy.seen[2] == [(1.0, 0, 1, 0, 3), (1.0, 0, 1, 0, 2)]


def test_observed_requests_keep_their_progress_until_the_next_refresh() -> None:
    progress = Spy(LeastLoaded(), lambda fleet: [[r.generated_tokens for r in e.running] for e in fleet.engines])
    workload = Workload.make([0.0, 1.1, 1.9, 2.1], [4, 4, 4, 4], [40, 1, 1, 1], classes=ONE)
    play(workload, router=progress, observe_s=1.0, step=STEP)
    assert [s[0][:1] for s in progress.seen] == [[], [4], [4], [8]]


def test_a_router_is_told_once_of_every_request_that_has_completed_with_its_length() -> None:
    """Steps of 0.25 s: the first two requests are done at 0.5 and 0.75 s."""
    spy = Spy(RoundRobin(), lambda fleet: [(r.id, r.output_tokens) for r in fleet.completed])
    workload = Workload.make([0.0, 0.0, 0.6, 2.0, 2.0], [4] * 5, [2, 3, 1, 1, 1], classes=ONE)
    play(workload, router=spy, step=STEP)
    assert spy.seen == [[], [], [(0, 2)], [(1, 3), (2, 1)], []]


def test_held_requests_are_offered_again_when_one_finishes() -> None:
    class Patient:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            engine = fleet.engines[0]
            busy = engine.running_count + engine.waiting_count
            return Hold("one at a time") if busy else Assign(engine.id, "free")

    workload = Workload.make([0.0, 0.0, 0.0], [4, 4, 4], [2, 2, 2], classes=ONE)
    outcome = play(workload, router=Patient(), step=STEP)
    assert outcome.column("first_scheduled_s").tolist() == [0.0, 0.5, 1.0]
    assert outcome.column("last_token_s").tolist() == [0.5, 1.0, 1.5]


def test_held_requests_are_offered_again_when_the_view_is_refreshed() -> None:
    class Late:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            return Assign("e0", "late enough") if fleet.now_s >= 2 else Hold("too early")

    outcome = play(Workload.make([0.0], [4], [1], classes=ONE), router=Late(), observe_s=0.5, step=STEP, until_s=10)
    assert outcome.column("first_scheduled_s").tolist() == [2.0]


def test_shed_and_held_requests_are_accounted_for() -> None:
    class Picky:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            return (Shed("no"), Hold("never"), Assign("e0", "yes"))[request.id]

    log = Summary()
    outcome = play(Workload.make([0.0, 0.0, 0.0], [4, 4, 4], [3, 3, 3], classes=ONE), router=Picky(), step=STEP, decisions=log)
    assert outcome.column("outcome").tolist() == [SHED, UNFINISHED, COMPLETED]
    assert outcome.column("engine").tolist() == [-1, -1, 0]
    assert np.isnan(outcome.column("first_token_s")[:2]).all()
    assert {(e["decision"], e["reason"]): e["count"] for e in log} == {
        ("Shed", "no"): 1,
        ("Hold", "never"): 2,  # on arrival, and again when the third request finished
        ("Assign", "yes"): 1,
    }


def test_a_full_log_lets_a_fresh_router_decide_again() -> None:
    """Parity means re-deciding: the logged views give the same decisions."""
    rng = np.random.default_rng(3)
    workload = Workload.make(np.cumsum(rng.exponential(0.02, 60)), rng.integers(1, 50, 60), rng.integers(1, 20, 60), classes=ONE)
    log = Full()
    play(workload, engines=3, router=LeastLoaded(), decisions=log)

    class Logged:
        def __init__(self, entry: dict[str, object]) -> None:
            self.__dict__.update(entry)

    fresh = LeastLoaded()
    for entry in log:
        fleet = Logged({"engines": [Logged(e) for e in entry["engines"]], "now_s": entry["now_s"], "held": []})
        decision = fresh.route(Logged(entry["request"]), fleet)
        assert (decision.engine, decision.reason) == (entry["engine"], entry["reason"])
        assert decision.named_scores(fleet.engines) == entry["scores"]


def test_a_router_cannot_send_a_request_to_an_engine_of_another_model() -> None:
    from traces.errors import InputError

    class First:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            return Assign(fleet.engines[0].id, "the first")

    workload = Workload.make([0.0], [4], [1], classes=(RequestClass(model="b"),))
    with pytest.raises(InputError, match="serves b"):
        play(workload, engines=2, models=["a", "b"], router=First())
    assert play(workload, engines=2, models=["a", "b"], router=RoundRobin()).column("engine").tolist() == [1]


def test_a_closed_loop_sends_the_next_request_when_one_is_done() -> None:
    workload = Workload.make([0.0] * 5, [4] * 5, [2] * 5, classes=ONE)
    outcome = play(workload, step=STEP, concurrency={0: 2}, limits=EngineLimits(max_num_seqs=8))
    assert outcome.column("arrival_s").tolist() == [0.0, 0.0, 0.5, 0.5, 1.0]


def test_a_closed_loop_ends_with_the_run() -> None:
    workload = Workload.make([0.0] * 50, [4] * 50, [2] * 50, classes=ONE)
    outcome = play(workload, step=STEP, concurrency={0: 1}, until_s=1.2)
    arrival = outcome.column("arrival_s")
    assert arrival[:3].tolist() == [0.0, 0.5, 1.0]
    assert np.isnan(arrival[3:]).all()
    assert outcome.column("outcome").tolist()[:3] == [COMPLETED, COMPLETED, UNFINISHED]
    assert outcome.column("generated").tolist()[:3] == [2, 2, 0]
