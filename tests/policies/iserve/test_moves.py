"""Changing a placement: new before old where there is room, one at a time where there is not, and not at all for little."""

import pytest

from policies.iserve.moves import Act, Change, Hysteresis, Serving, change, without
from policies.iserve.placement import place
from tests.policies.iserve.test_placement import devices, one


def serving(name: str, model: str, on: list, *, tp: int = 1, capacity: float = 1.0) -> Serving:
    placed = place(one(model, tp), on)
    return Serving(name, placed, capacity, 14.0)


def test_a_new_engine_is_started_before_the_old_one_is_drained():
    room = devices(0, 0)
    old, new = serving("old", "llama-2-7b", room[:1]), serving("new", "llama-2-7b", room[1:])
    plan = change([old], [new], without(room, [old]), {"llama-2-7b": 1.0})
    assert [(step.act, step.engine.name) for step in plan.steps] == [(Act.START, "new"), (Act.DRAIN, "old")]
    assert not plan.shortfall


def test_what_stays_is_left_alone():
    room = devices(0, 0)
    same = serving("same", "llama-2-7b", room[:1])
    assert change([same], [same], without(room, [same]), {}).steps == ()


def test_where_there_is_no_room_engines_are_exchanged_while_the_others_carry_the_load():
    room = devices(0, 0, free_bytes=6e9)
    old = [serving("a", "llama-2-7b", room[:1]), serving("b", "llama-2-7b", room[1:])]
    new = [serving("c", "gptj-6b", room[:1])]
    plan = change(old, [old[1], *new], without(room, old), {"llama-2-7b": 0.8, "gptj-6b": 0.1})
    assert [step.engine.name for step in plan.steps] == ["a", "c"]
    assert not plan.shortfall


def test_a_change_that_cannot_keep_the_service_level_says_by_how_much():
    room = devices(0, free_bytes=6e9)
    old, new = serving("old", "llama-2-7b", room), serving("new", "gptj-6b", room)
    plan = change([old], [new], without(room, [old]), {"llama-2-7b": 0.8})
    assert plan.shortfall == {"llama-2-7b": pytest.approx(0.8)}


def test_a_change_costs_loading_and_what_is_drained():
    room = devices(0, 0)
    old, new = serving("old", "llama-2-7b", room[:1]), serving("new", "llama-2-7b", room[1:])
    plan = change([old], [new], without(room, [old]), {"llama-2-7b": 0.5})
    latency = old.placed.candidate.latency_s.value
    assert plan.steps[0].seconds == pytest.approx(14)
    assert plan.seconds == pytest.approx(14 + latency)
    assert plan.requests_drained == pytest.approx(0.5 * 0.5 * latency)  # half of the load, at the time when both serve


def test_little_gain_is_not_worth_a_move():
    cheap = Change((), 10.0, 10.0, 0.0, {})
    rule = Hysteresis(holds_s=600, factor=2, least_gain=0.1)
    assert not rule.worth_it(1.0, 0.95, cheap, gpus=8)
    assert rule.worth_it(1.0, 0.5, cheap, gpus=8)
    assert not rule.worth_it(1.0, 0.5, Change((), 10.0, 1e4, 0.0, {}), gpus=8)


def test_the_service_level_goes_before_any_gain_but_a_broken_one_is_mended():
    dips = Change((), 10.0, 10.0, 0.0, {"m": 0.1})
    assert not Hysteresis().worth_it(1.0, 0.1, dips, gpus=8)
    assert Hysteresis().worth_it(float("inf"), 1.0, dips, gpus=8)
