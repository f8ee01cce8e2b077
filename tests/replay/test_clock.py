"""Time made up and time by the wall, and the order of what happens at one instant."""

from __future__ import annotations

import time

from replay.clock import CoreClock, Turn, VirtualClock, WallClock


def test_at_one_instant_turns_are_in_order_and_equals_first_come_first_served() -> None:
    clock, seen = VirtualClock(), []
    for turn in reversed(Turn):
        for number in (0, 1):
            clock.call_at(1.0, turn, lambda turn=turn, number=number: seen.append((turn, number)))
    clock.call_at(0.5, Turn.STEP_START, lambda: seen.append("before"))
    clock.play()
    assert seen == ["before", *((turn, number) for turn in Turn for number in (0, 1))]
    assert clock.now() == 1.0


def test_an_action_may_call_for_another_at_the_same_instant() -> None:
    clock, seen = VirtualClock(), []
    clock.call_at(1.0, Turn.ARRIVAL, lambda: clock.call_at(clock.now(), Turn.STEP_END, lambda: seen.append("step end")))
    clock.call_at(1.0, Turn.ROUTE, lambda: seen.append("route"))
    clock.play()
    assert seen == ["step end", "route"]


def test_play_ends_at_its_time_and_can_go_on() -> None:
    clock, seen = VirtualClock(), []
    clock.call_at(1.0, Turn.ARRIVAL, lambda: seen.append(1))
    clock.call_at(2.0, Turn.ARRIVAL, lambda: seen.append(2))
    clock.play(1.5)
    assert (seen, clock.now(), clock.idle, clock.next_s) == ([1], 1.5, False, 2.0)
    clock.play(2.0)
    assert (seen, clock.idle, clock.next_s) == ([1, 2], True, float("inf"))


def test_the_wall_clock_acts_on_what_is_due_and_on_nothing_else() -> None:
    clock, seen = WallClock(time.monotonic() - 10.0), []
    clock.call_at(9.0, Turn.ARRIVAL, lambda: seen.append("late"))
    clock.call_at(1e6, Turn.ARRIVAL, lambda: seen.append("never"))
    assert clock.now() >= 10.0
    assert clock.act()
    assert not clock.act()
    assert seen == ["late"]


def test_a_core_s_clock_stands_still_while_its_thread_sleeps_and_skips_what_is_waited_for() -> None:
    clock = CoreClock()
    clock.restart()
    time.sleep(0.05)
    assert clock.now() < 0.04
    clock.wait(100.0)
    assert 100.0 <= clock.now() < 101.0


def test_a_clock_that_is_held_stands_still_and_goes_on_where_the_time_is() -> None:
    clock = CoreClock()
    clock.hold()
    held = clock.now()
    clock.wait(1.0)
    assert clock.now() == held
    clock.go_on()
    assert clock.now() >= held + 1.0
