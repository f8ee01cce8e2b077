"""Engines that start, drain, fail and come back, timed by hand: every step takes 0.25 s."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from policies.decisionlog import Full, Summary
from policies.decisions import Activate, Assign, Drain, Hold, Move, Routing, Scale
from policies.redecide import redecide
from policies.routers import LeastLoaded
from policies.scalers import TargetLoad
from policies.seating import Seat
from policies.types import EngineState, FleetView, RequestView
from sim.faults import Fault, RandomFaults
from sim.journal import COMPLETED, FAILED
from sim.kernel import Kernel
from sim.site import Site
from tests.scripted import Script
from tests.sim.cluster import Outcome
from tests.sim.fleets import play_fleet
from traces.errors import InputError
from traces.workload import RequestClass, Workload

ONE = (RequestClass(model="m"),)
STEP = {"overhead_s": 0.25}
NEVER = float("inf")
PLAIN = Site()
SLOW = Site(Seat(start_up_s=1.0))


def work(arrivals: Sequence[float], outputs: Sequence[int]) -> Workload:
    return Workload.make(arrivals, [4] * len(arrivals), outputs, classes=ONE)


def states(outcome: Outcome, engine: int = 0) -> list[tuple[float, str]]:
    return [(time, str(state)) for time, index, state in outcome.fleet.lifecycle.history if index == engine]


def test_an_engine_serves_once_it_has_started() -> None:
    """Activated at 0.5, it is up at 1.5; what was held since 0.1 goes there then."""
    scaler = Script((0.5, [Activate("e0", "needed")]))
    outcome = play_fleet(work([0.1], [2]), [SLOW], parked=[0], scaler=scaler, step=STEP)
    assert states(outcome) == [(0.0, "parked"), (0.5, "starting"), (1.5, "active")]
    assert outcome.column("first_scheduled_s").tolist() == [1.5]
    assert scaler.asked == [0.0, 0.5]


def test_a_scaler_can_be_asked_as_soon_as_a_request_is_held() -> None:
    class Eager:
        def scale(self, fleet: FleetView) -> Scale:
            parked = fleet.idle if fleet.held else ()
            return Scale([Activate(engine.id, "held") for engine in parked], on_hold=True)

    outcome = play_fleet(work([0.3], [1]), [PLAIN], parked=[0], scaler=Eager(), step=STEP)
    assert outcome.column("first_scheduled_s").tolist() == [0.3]  # started in no time, within the same instant


def test_a_drained_engine_finishes_what_it_has_takes_no_more_and_is_parked() -> None:
    """e0 gets the first request at 0 and drains at 0.1: the second goes to e1, though both are as loaded."""
    scaler = Script((0.1, [Drain("e0", "scale down")]))
    outcome = play_fleet(work([0.0, 0.2, 0.3], [4, 4, 1]), [PLAIN, PLAIN], scaler=scaler, step=STEP)
    assert outcome.column("engine").tolist() == [0, 1, 1]
    assert states(outcome) == [(0.0, "active"), (0.1, "draining"), (1.0, "parked")]
    assert outcome.engines[0].empty


def test_a_scaler_is_told_of_completed_requests_whatever_the_router_was_told() -> None:
    class Told(Script):
        def scale(self, fleet: FleetView) -> Scale:
            told.append([(r.id, r.output_tokens) for r in fleet.completed])
            return super().scale(fleet)

    told: list[list[tuple[int, int]]] = []
    play_fleet(work([0.0, 0.6, 1.1], [2, 1, 1]), [PLAIN], scaler=Told((1.0, []), (1.2, []), (5.0, [])), step=STEP)
    assert told == [[], [(0, 2), (1, 1)], [], [(2, 1)]]


def test_an_idle_engine_is_parked_as_it_is_drained_and_a_starting_one_is_not_started() -> None:
    scaler = Script((0.1, [Drain("e0", "idle"), Activate("e1", "try")]), (0.6, [Drain("e1", "changed my mind")]))
    outcome = play_fleet(work([2.0], [1]), [PLAIN, SLOW, PLAIN], parked=[1], scaler=scaler, step=STEP)
    assert states(outcome) == [(0.0, "active"), (0.1, "draining"), (0.1, "parked")]
    assert states(outcome, 1) == [(0.0, "parked"), (0.1, "starting"), (0.6, "parked")]


def test_a_draining_engine_can_be_taken_back_at_once() -> None:
    scaler = Script((0.1, [Drain("e0", "down")]), (0.2, [Activate("e0", "up again", tier="gold")]))
    outcome = play_fleet(work([0.0, 0.3], [9, 1]), [SLOW], scaler=scaler, step=STEP)
    assert states(outcome) == [(0.0, "active"), (0.1, "draining"), (0.2, "active")]
    assert (outcome.engines[0].tier, outcome.column("engine").tolist()) == ("gold", [0, 0])


def test_a_move_changes_the_tier_and_held_requests_are_offered_again() -> None:
    class Tiered:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            mine = [engine for engine in fleet.engines if engine.tier == "gold"]
            return Assign(mine[0].id, "of the tier") if mine else Hold("no engine of the tier")

    scaler = Script((1.0, [Move("e0", "wanted", "gold")]))
    outcome = play_fleet(work([0.0], [1]), [PLAIN], router=Tiered(), scaler=scaler, step=STEP)
    assert outcome.column("first_scheduled_s").tolist() == [1.0]


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (Scale([Drain("e7", "no such")]), "which the fleet does not have"),
        (Scale([Activate("e0", "is up")]), "which is active; it must be parked or draining"),
        (Scale([Drain("e0", "one"), Move("e0", "two", None)]), "changes engine e0 twice"),
        (Scale(next_at_s=0.0), "name a later time"),
        ("up", "a scaler answers with Scale"),
        (Scale(["e0"]), "a change is an Activate, a Drain or a Move"),
    ],
)
def test_what_cannot_be_carried_out_stops_the_run(scale: object, text: str) -> None:
    class Bad:
        def scale(self, fleet: FleetView) -> object:
            return scale

    with pytest.raises(InputError, match=f"policy.scaler: .*{text}"):
        play_fleet(work([0.0], [1]), [PLAIN], scaler=Bad())


def test_a_scaler_that_never_comes_to_rest_is_stopped() -> None:
    class Restless:
        def scale(self, fleet: FleetView) -> Scale:
            parked = [engine.id for engine in fleet.idle]
            return Scale([Activate(parked[0], "up") if parked else Drain("e0", "down")], on_hold=True)

    class Never:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            return Hold("never")

    with pytest.raises(InputError, match="time stands still"):
        play_fleet(work([0.0], [1]), [PLAIN], scaler=Restless(), router=Never())


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_request_that_loses_its_engine_starts_over_with_the_tokens_that_it_has() -> None:
    """e0 ends steps at 0.25, 0.5, … and fails at 0.6 with 2 tokens given. e1 computes 4 + 2 tokens by 0.85 and gives the third."""
    outcome = play_fleet(work([0.0], [4]), [PLAIN, PLAIN], step=STEP, faults=[Fault("e0", 0.6, NEVER)])
    assert outcome.column("first_token_s").tolist() == [0.25]
    assert outcome.column("last_token_s").tolist() == pytest.approx([1.1])
    assert outcome.column("generated").tolist() == [4]
    rows = outcome.journal.step_rows()
    assert [(row["engine"], row["prefill_tokens"], row["decode_seqs"] * row["steps"]) for row in rows] == [
        (0, 4, 0),
        (0, 0, 1),
        (1, 6, 0),
        (1, 0, 1),
    ]
    facts = outcome.tokens()
    assert sorted(zip(facts.engine.tolist(), facts.token.tolist(), strict=True)) == [(0, 0), (1, 2)]


def test_a_failed_engine_starts_again_with_empty_memory() -> None:
    """Down from 0.6 to 1.6, starting until 2.6: the request that it lost waits for it, and computes everything again."""
    outcome = play_fleet(work([0.0], [4]), [SLOW], step=STEP, faults=[Fault("e0", 0.6, 1.0)])
    assert states(outcome) == [(0.0, "active"), (0.6, "failed"), (1.6, "starting"), (2.6, "active")]
    assert outcome.column("last_token_s").tolist() == pytest.approx([2.6 + 0.5])
    assert outcome.column("outcome").tolist() == [COMPLETED]
    assert (outcome.fleet.losses.failures, outcome.fleet.losses.retried) == (1, 1)


def test_a_request_may_lose_only_so_many_engines() -> None:
    faults = [Fault("e0", 0.6, NEVER), Fault("e1", 0.9, NEVER)]
    outcome = play_fleet(work([0.0], [40]), [PLAIN] * 3, step=STEP, faults=faults, retries=1)
    assert outcome.column("outcome").tolist() == [FAILED]
    assert outcome.column("engine").tolist() == [1]
    assert outcome.column("generated").tolist() == [3]
    assert outcome.fleet.done == 1


def test_a_step_that_ends_as_the_engine_fails_counts() -> None:
    outcome = play_fleet(work([0.0], [2]), [PLAIN], step=STEP, faults=[Fault("e0", 0.5, NEVER)])
    assert outcome.column("outcome").tolist() == [COMPLETED]


def test_a_draining_engine_that_fails_is_parked_when_it_is_repaired() -> None:
    scaler = Script((0.1, [Drain("e0", "down")]))
    outcome = play_fleet(work([0.0, 3.0], [40, 1]), [PLAIN, PLAIN], step=STEP, scaler=scaler, faults=[Fault("e0", 0.6, 1.0)])
    assert states(outcome) == [(0.0, "active"), (0.1, "draining"), (0.6, "failed"), (1.6, "parked")]
    assert outcome.column("engine").tolist() == [1, 1]


def test_what_is_parked_or_down_does_not_fail() -> None:
    faults = [Fault("e0", 0.5, 1.0), Fault("e0", 0.6, NEVER), Fault("e1", 0.7, NEVER)]
    outcome = play_fleet(work([0.0, 2.0], [1, 1]), [PLAIN, PLAIN], parked=[1], step=STEP, faults=faults)
    assert outcome.fleet.losses.failures == 1
    assert outcome.column("outcome").tolist() == [COMPLETED, COMPLETED]


def test_random_failures_come_from_a_stream_per_engine() -> None:
    def strikes(engines: int) -> dict[str, list[float]]:
        kernel, struck = Kernel(), {}
        members = play_fleet(work([0.0], [1]), [PLAIN] * engines).engines
        RandomFaults(kernel, members, 10.0, 1.0, 3, lambda engine, _: struck.setdefault(engine.id, []).append(kernel.now))
        kernel.play(2000.0)
        return struck

    few, more = strikes(2), strikes(3)
    assert few == {name: times for name, times in more.items() if name != "e2"}
    assert few["e0"] != few["e1"]
    assert len(few["e0"]) == pytest.approx(2000 / 11, rel=0.3)


# --- the fleet's views ------------------------------------------------------------------------------------------------


def test_views_show_every_member_what_is_parked_and_which_gpus_are_free() -> None:
    seen = []

    class Look:
        def scale(self, fleet: FleetView) -> Scale:
            seen.append(
                (
                    [engine.id for engine in fleet.engines],
                    [(engine.id, engine.state) for engine in fleet.members],
                    [engine.id for engine in fleet.idle],
                    dict(fleet.inventory.free),
                    dict(fleet.inventory.total),
                )
            )
            return Scale()

    sites = [PLAIN, Site(Seat("h100", 2)), Site(Seat(tensor_parallel=4))]
    play_fleet(work([0.0], [1]), sites, parked=[1, 2], scaler=Look())
    parked = EngineState.PARKED
    assert seen == [
        (
            ["e0"],
            [("e0", EngineState.ACTIVE), ("e1", parked), ("e2", parked)],
            ["e1", "e2"],
            {"h200": 4, "h100": 2},
            {"h200": 5, "h100": 2},
        )
    ]


@pytest.mark.parametrize("observe_s", [0.0, 0.5])
def test_which_engines_are_up_is_no_matter_of_observation(observe_s: float) -> None:
    """The router's view of load is old, but it never names an engine that has gone, and finds one that has come at once."""
    up: list[tuple[float, list[str]]] = []

    class Watch(LeastLoaded):
        __slots__ = ()

        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            up.append((fleet.now_s, [engine.id for engine in fleet.engines]))
            return super().route(request, fleet)

    scaler = Script((0.6, [Activate("e2", "up")]))
    play_fleet(
        work([0.1, 0.3, 0.7], [1, 1, 1]),
        [PLAIN] * 3,
        parked=[2],
        router=Watch(),
        scaler=scaler,
        faults=[Fault("e0", 0.2, NEVER)],
        observe_s=observe_s,
    )
    assert up == [(0.1, ["e0", "e1"]), (0.3, ["e1"]), (0.7, ["e1", "e2"])] or up[1] == (0.2, ["e1"])


def test_only_the_head_of_a_queue_is_offered_again() -> None:
    asked: list[int] = []

    class Queued:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            asked.append(request.id)
            engine = fleet.engines[0]
            busy = engine.running_count + engine.waiting_count
            return Hold("one at a time", queue="all") if busy else Assign(engine.id, "free")

    outcome = play_fleet(work([0.0] * 4, [2] * 4), [PLAIN], router=Queued(), step=STEP)
    assert outcome.column("last_token_s").tolist() == [0.5, 1.0, 1.5, 2.0]
    assert asked == [0, 1, 2, 3, 1, 2, 2, 3, 3]


def test_decisions_of_a_scaler_are_logged_and_made_again() -> None:
    def scaler() -> TargetLoad:
        return TargetLoad(target=4, period_s=0.5, stabilisation_s=1.0)

    def run(log: object) -> None:
        arrivals = [i * 0.02 for i in range(200)] + [8.0]
        sites, step = [SLOW] * 6, {"overhead_s": 0.02}
        play_fleet(work(arrivals, [5] * 201), sites, parked=range(1, 6), scaler=scaler(), step=step, decisions=log, until_s=9.0)

    summary, full = Summary(), Full()
    run(summary)
    run(full)
    counts = {entry["decision"]: entry["count"] for entry in summary if entry["point"] == "scaler"}
    assert counts["Scale"] == 19
    assert counts["Activate"] >= counts["Drain"] >= 1
    fresh: dict[str, Callable[[], object]] = {"router": LeastLoaded, "scaler": scaler}
    again = redecide(full, lambda point: fresh[point]())
    assert again.same
    assert "scaler" in again.policies
