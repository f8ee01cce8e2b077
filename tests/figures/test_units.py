"""Numbers are shown with the digits that they deserve."""

from __future__ import annotations

import pytest

from figures.units import PLAIN, count, count_scale, duration, known, limit, number, seconds, seconds_scale, share, share_interval


@pytest.mark.parametrize(
    ("value", "lo", "hi", "shown"),
    [
        (7.6123, 7.01, 8.23, "7.6"),  # half-width 0.6: one digit of it
        (1661.4, 1401.7, 1921.1, "1,661"),  # whole parts stay
        (0.0344, 0.0330, 0.0358, "0.0344"),  # half-width 0.0014 begins with 1: two digits of it
        (5.0, 4.99999, 5.00001, "5.0000"),  # never more than five digits
        (-0.00001, -0.5, 0.5, "0.0"),  # no negative zero
    ],
)
def test_an_interval_decides_how_many_digits_are_shown(value: float, lo: float, hi: float, shown: str) -> None:
    assert number(value, lo, hi) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.012345, "0.0123"), (0.9996, "1.00"), (9.876, "9.88"), (123.4, "123"), (98765.4, "98,765"), (-2.5, "−2.50")],
)
def test_without_an_interval_three_digits_are_shown(value: float, shown: str) -> None:
    assert number(value) == shown


def test_what_is_unknown_is_a_dash_and_never_zero() -> None:
    assert [number(None), number(float("nan")), share(None), seconds(None), duration(None), count(None)] == ["–"] * 6
    assert not known(float("inf"))


def test_an_open_interval_tells_its_known_end() -> None:
    assert PLAIN.interval(1.64, None) == "≥ 1.64"
    assert PLAIN.interval(None, 3.0) == "≤ 3.00"
    assert PLAIN.interval(None, None) == ""


def test_a_share_reads_as_all_or_none_only_if_it_is() -> None:
    assert [share(1.0), share(0.99995), share(0.9074), share(0.0004), share(0.0)] == [
        "100 %",
        "> 99.9 %",
        "90.7 %",
        "< 0.1 %",
        "0 %",
    ]
    assert share(1 - 1e-12) == "100 %", "rounding in sums is not a miss"


def test_the_interval_of_a_share_is_rounded_outwards() -> None:
    assert share_interval(0.99945, 1.0) == "99.9–100"
    assert share_interval(0.7966, 0.9608) == "79–97"
    assert share_interval(1.0, 1.0) == ""


def test_a_column_of_latencies_shares_the_unit_that_suits_its_middle() -> None:
    assert seconds_scale([0.02, 0.03, 4.0]).unit == "ms"
    assert seconds_scale([0.02, 3.0, 4.0, None]).unit == "s"
    assert seconds_scale([2e-5]).unit == "µs"
    assert seconds_scale([None]).unit == "ms"


def test_chosen_times_keep_exactly_the_digits_that_they_have() -> None:
    assert [limit(0.5), limit(2.0), limit(0.0125), limit(60.0)] == ["500 ms", "2 s", "12.5 ms", "60 s"]


def test_large_counts_are_scaled_and_durations_get_a_clock_unit() -> None:
    scale = count_scale([123_456.0, 5.0])
    assert (scale.number(123_456.0), scale.unit) == ("123", "k")
    assert [duration(27.0), duration(3486.0), duration(23000.0)] == ["27.0 s", "58.1 min", "6.39 h"]
