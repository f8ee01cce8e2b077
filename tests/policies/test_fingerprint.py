"""Fingerprints: curves, what they refuse, and the way to JSON and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.fingerprint import Curve, Fingerprint


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
    ("x", "y"),
    [
        ((1.0,), (1.0,)),
        ((1.0, 1.0), (1.0, 2.0)),
        ((0.0, 1.0), (1.0, 2.0)),
        ((1.0, 2.0), (2.0, 1.0)),
        ((1.0, 2.0), (-1.0, 1.0)),
        ((1.0, 2.0), (1.0, float("nan"))),
        ((1.0, 2.0), (1.0,)),
    ],
)
def test_a_curve_that_is_not_a_rising_function_is_refused(x: tuple[float, ...], y: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="a curve"):
        Curve(x, y)


def test_a_fingerprint_survives_json() -> None:
    fingerprint = Fingerprint.linear(overhead_s=0.004, per_token_s=1e-5, per_prefill_attention_s=1e-10, per_decode_context_s=3e-8)
    assert Fingerprint.from_dict(json.loads(json.dumps(fingerprint.to_dict()))) == fingerprint


def test_a_fingerprint_with_a_missing_unknown_or_impossible_entry_says_which() -> None:
    good = Fingerprint.linear(overhead_s=0.004).to_dict()
    with pytest.raises(ValueError, match="missing gpu"):
        Fingerprint.from_dict({k: v for k, v in good.items() if k != "gpu"})
    with pytest.raises(ValueError, match="unknown colour"):
        Fingerprint.from_dict({**good, "colour": "green"})
    with pytest.raises(ValueError, match="terms: missing gemm"):
        Fingerprint.from_dict({**good, "terms": {k: v for k, v in good["terms"].items() if k != "gemm"}})
    with pytest.raises(ValueError, match="overhead must be finite"):
        Fingerprint.from_dict({**good, "terms": {**good["terms"], "overhead": -1}})
    with pytest.raises(ValueError, match="provenance is one of measured"):
        Fingerprint.from_dict({**good, "provenance": "guessed"})
