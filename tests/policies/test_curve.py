"""The shapes that step times are made of: what they are between their rows, and the rows that they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.curve import Curve, Lines


def test_a_curve_is_zero_at_zero_flat_to_its_first_breakpoint_linear_between_and_continued_beyond() -> None:
    curve = Curve((2.0, 4.0, 8.0), (1.0, 3.0, 5.0))
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0])
    assert curve.many(x).tolist() == [0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert [curve.at(v) for v in x.tolist()] == [0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_sum_of_curves_is_the_sum_of_their_values_everywhere() -> None:
    one, other = Curve((1.0, 4.0, 9.0), (1.0, 2.0, 7.0)), Curve((3.0, 5.0), (0.5, 0.5))
    x = np.linspace(0, 20, 81)
    np.testing.assert_allclose((one + other).many(x[x != 0]), one.many(x[x != 0]) + other.many(x[x != 0]), rtol=1e-12)


curves = st.lists(st.floats(0, 1), min_size=2, max_size=8).map(
    lambda steps: Curve(tuple(float(i * i + 1) for i in range(len(steps))), tuple(np.cumsum(steps).tolist()))
)


@given(curves, st.floats(0, 200), st.floats(0, 200))
def test_a_curve_never_decreases(curve: Curve, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert curve.at(low) <= curve.at(high) + 1e-12


@pytest.mark.parametrize(
    ("x", "y", "row"),
    [
        ((1.0,), (1.0,), "two rows"),
        ((1.0, 1.0), (1.0, 2.0), "row 1: x must increase"),
        ((0.0, 1.0), (1.0, 2.0), "row 0: x must increase"),
        ((1.0, 8.0, 9.0), (1.0, 2.0, 1.5), r"row 2 \(x = 9\): y falls from 2 to 1.5"),
        ((1.0, 2.0), (-1.0, 1.0), "row 0 .* finite number of seconds, not negative"),
        ((1.0, 2.0), (1.0, float("nan")), r"row 1 \(x = 2\): y is nan"),
        ((1.0, 2.0), (1.0,), "2 x and 1 y"),
    ],
)
def test_a_curve_that_is_not_a_rising_function_is_refused_by_the_row(x: tuple[float, ...], y: tuple[float, ...], row: str) -> None:
    with pytest.raises(ValueError, match=row):
        Curve(x, y)


LINES = Lines((1.0, 4.0, 16.0), (1.0, 2.0, 10.0), (0.5, 0.4, 0.4))


def test_lines_are_exact_at_measured_numbers_of_requests_and_linear_between() -> None:
    assert LINES.at(4, 100) == pytest.approx(2 + 0.4 * 100)
    assert LINES.at(10, 100) == pytest.approx(6 + 0.4 * 100)
    assert LINES.at(2.5, 100) == pytest.approx(1.5 + 0.45 * 100)
    assert LINES.at(0.5, 100) == LINES.at(1, 100)
    assert LINES.at(28, 100) == pytest.approx(18 + 0.4 * 100)
    assert LINES.at(0, 100) == 0.0


@given(st.lists(st.tuples(st.floats(0, 64), st.floats(0, 1e6)), min_size=1, max_size=20))
def test_lines_in_bulk_are_those_one_by_one(points: list[tuple[float, float]]) -> None:
    requests, context = np.array(points).T
    np.testing.assert_allclose(LINES.many(requests, context), [LINES.at(n, c) for n, c in points], rtol=1e-12)


def test_lines_say_up_to_which_context_one_more_request_never_helps() -> None:
    crossing = LINES.crossing()
    assert crossing == pytest.approx(10)
    assert LINES.at(4, crossing - 1) > LINES.at(1, crossing - 1)
    assert LINES.at(4, crossing + 1) < LINES.at(1, crossing + 1)
    assert Lines.proportional(1e-8).crossing() == float("inf")


@pytest.mark.parametrize(
    ("fixed", "slope", "row"),
    [((2.0, 1.0), (0.1, 0.1), "row 1 .* fixed falls"), ((1.0, 2.0), (0.1, float("nan")), "row 1: per_context is nan")],
)
def test_impossible_lines_are_refused_by_the_row(fixed: tuple[float, ...], slope: tuple[float, ...], row: str) -> None:
    with pytest.raises(ValueError, match=row):
        Lines((1.0, 2.0), fixed, slope)
