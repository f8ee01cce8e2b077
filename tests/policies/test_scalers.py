"""The baseline scalers, on views made up by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from policies.decisions import Activate, Drain, Scale
from policies.lawful import scale_fault
from policies.scalers import Fixed, TargetLoad
from policies.types import EngineState, Role
from policies.views import Engine, Fleet, Request

ACTIVE, PARKED, STARTING, DRAINING = EngineState.ACTIVE, EngineState.PARKED, EngineState.STARTING, EngineState.DRAINING


def fleet(loads: Sequence[int], now_s: float = 0.0, *, parked: int = 0, held: int = 0, **others: EngineState) -> Fleet:
    """Active engines with so many unfinished requests, then parked ones, then ``others`` by name."""
    members = [Engine(id=f"e{i}", running_count=load) for i, load in enumerate(loads)]
    members += [Engine(id=f"p{i}", state=PARKED) for i in range(parked)]
    members += [Engine(id=name, state=state) for name, state in others.items()]
    return Fleet.of_members(members, now_s, held=[Request(id=i) for i in range(held)])


def names(scale: Scale) -> list[tuple[str, str]]:
    return [(type(change).__name__, change.engine) for change in scale.changes]


def test_a_fixed_fleet_is_left_alone_for_good() -> None:
    scale = Fixed().scale(fleet([9, 0], parked=3))
    assert (list(scale.changes), scale.next_at_s) == ([], float("inf"))


def test_wanted_engines_are_load_over_target_rounded_up() -> None:
    """50 unfinished requests, 10 per engine: 5 engines, of which 2 are up."""
    scale = TargetLoad(target=10).scale(fleet([30, 20], parked=5))
    assert names(scale) == [("Activate", "p0"), ("Activate", "p1"), ("Activate", "p2")]
    assert scale.next_at_s == 15.0
    assert "50 unfinished requests on 2 engines, 5 wanted" in scale.changes[0].reason


def test_held_requests_and_starting_engines_count() -> None:
    assert names(TargetLoad(target=10).scale(fleet([10], parked=5, held=20, s=STARTING))) == [("Activate", "p0")]


def test_within_the_tolerance_nothing_changes() -> None:
    assert names(TargetLoad(target=10).scale(fleet([10, 11], parked=5))) == []
    assert names(TargetLoad(target=10, tolerance=0.04).scale(fleet([10, 11], parked=5))) == [("Activate", "p0")]


def test_engines_go_down_only_when_no_more_were_wanted_for_a_while() -> None:
    scaler = TargetLoad(target=10, stabilisation_s=60)
    assert names(scaler.scale(fleet([10, 10, 10]))) == []
    assert names(scaler.scale(fleet([3, 1, 2], 30.0))) == []
    assert names(scaler.scale(fleet([3, 1, 2], 60.0))) == []
    assert names(scaler.scale(fleet([3, 1, 2], 61.0))) == [("Drain", "e1"), ("Drain", "e2")]


def test_the_fleet_at_the_start_counts_as_wanted() -> None:
    assert names(TargetLoad(target=10).scale(fleet([0, 0, 0]))) == []
    assert names(TargetLoad(target=10, stabilisation_s=0).scale(fleet([0, 0, 0], 1.0))) == []


def test_the_last_of_the_emptiest_is_drained_first_and_some_stay_up() -> None:
    scaler = TargetLoad(target=10, stabilisation_s=5, min_engines=2)
    scaler.scale(fleet([0, 0, 0, 1]))
    assert names(scaler.scale(fleet([0, 0, 0, 1], 10.0))) == [("Drain", "e2"), ("Drain", "e1")]


def test_a_draining_engine_is_taken_back_before_a_parked_one_starts() -> None:
    assert names(TargetLoad(target=10).scale(fleet([40], parked=3, d=DRAINING))) == [
        ("Activate", "d"),
        ("Activate", "p0"),
        ("Activate", "p1"),
    ]


def test_models_roles_and_tiers_are_scaled_apart() -> None:
    members = [
        Engine(id="a", model="x", running_count=40),
        Engine(id="b", model="y"),
        Engine(id="c", model="x", state=PARKED),
        Engine(id="d", model="y", state=PARKED),
        Engine(id="e", model="x", role=Role.DECODE, state=PARKED),
    ]
    scale = TargetLoad(target=30, min_engines=0).scale(Fleet.of_members(members))
    assert names(scale) == [("Activate", "c")]


@pytest.mark.parametrize("params", [{"target": 0}, {"period_s": 0}, {"tolerance": -1}, {"min_engines": -1}])
def test_what_cannot_be_is_refused(params: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        TargetLoad(**params)


def test_a_lawful_decision_has_no_fault() -> None:
    view = fleet([1, 2], 1.0, parked=1)
    assert scale_fault(Scale([Drain("e0", "less"), Activate("p0", "more")], 2.0), view) is None
    assert scale_fault(Scale(), view) is None
