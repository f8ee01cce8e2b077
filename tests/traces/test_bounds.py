"""Intervals of a few requests stay where their quantity can be, and hold the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traces.golden import golden_record
from traces.bounds import NONE_SEEN, none_per_second, not_negative, ratio_above, share_of_one
from traces.intervals import BATCHES, Estimate, mean, ratio
from traces.metrics import METRICS, summarise

RUNS = 1500
SECONDS = np.full(BATCHES, 1.0 / BATCHES)


def coverage(found: list[Estimate], truth: float) -> float:
    hits = [(e.lo is None or e.lo <= truth) and (e.hi is None or truth <= e.hi) for e in found]
    return sum(hits) / len(hits)


def events(rng: np.random.Generator, expected: float, sigma: float = 0.0) -> np.ndarray:
    """What a Poisson number of events of mean weight 1 brings in each slice of a second."""
    n = rng.poisson(expected)
    return np.bincount(rng.integers(0, BATCHES, n), rng.lognormal(-(sigma**2) / 2, sigma, n), BATCHES)


@pytest.mark.parametrize("expected", [4, 8, 20, 60])
def test_a_rate_from_a_few_requests_is_covered_as_promised(expected):
    rng = np.random.default_rng(31)
    found = [ratio_above(slices, SECONDS, 1) if slices.any() else none_per_second(1.0) for slices in
             (events(rng, expected) for _ in range(RUNS))]  # fmt: skip
    assert 0.93 <= coverage(found, expected) <= 0.995
    assert all(0 <= e.lo <= e.value <= e.hi for e in found)


def test_cut_off_at_zero_it_would_miss_a_rate_of_unequal_events_more_often():
    rng = np.random.default_rng(32)
    runs = [events(rng, 10, sigma=1.0) for _ in range(RUNS)]
    plain = [ratio(run, SECONDS, 1) for run in runs]
    missed, mended = 1 - coverage(plain, 10), 1 - coverage([not_negative(e) for e in plain], 10)
    assert min(e.lo for e in plain) < 0
    assert mended < 0.055 < 0.065 < missed


@pytest.mark.parametrize("n", [4, 8, 16, 50])
def test_a_mean_latency_of_a_few_requests_is_covered_as_promised(n):
    rng = np.random.default_rng(33)
    found = [not_negative(mean(rng.exponential(1.0, n))) for _ in range(RUNS)]
    assert 0.94 <= coverage(found, 1.0) <= 0.995
    assert all(e.lo >= 0 for e in found)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_share_of_tokens_of_a_few_requests_is_covered_as_promised(share):
    rng = np.random.default_rng(34)
    found = []
    for _ in range(RUNS):
        whole = rng.integers(5, 200, 32).astype(float)
        found.append(share_of_one(ratio(rng.binomial(whole.astype(int), share).astype(float), whole, 32)))
    assert 0.92 <= coverage(found, share) <= 0.98
    assert all(0 <= e.lo <= e.value <= e.hi <= 1 for e in found)


def test_no_event_at_all_still_sets_a_limit():
    assert none_per_second(10.0).hi == pytest.approx(0.3689, abs=1e-4)
    assert math.exp(-NONE_SEEN) == pytest.approx(0.025)


@given(value=st.floats(0, 1e9), half=st.floats(0, 1e12))
def test_no_interval_leaves_the_values_that_there_can_be(value, half):
    e = not_negative(Estimate(value, value - half, value + half, 9))
    assert 0 <= e.lo <= e.value * (1 + 1e-12)
    assert e.hi >= e.value * (1 - 1e-12)
    share = value / 1e9
    e = share_of_one(Estimate(share, share - half, share + half, 9))
    assert 0 <= e.lo <= share + 1e-9
    assert share - 1e-9 <= e.hi <= 1


def test_a_narrow_interval_is_what_it_was():
    e = not_negative(Estimate(100.0, 99.0, 101.0, 9))
    assert (e.lo, e.hi) == (pytest.approx(99, abs=0.01), pytest.approx(101, abs=0.01))
    e = share_of_one(Estimate(0.5, 0.49, 0.51, 9))
    assert (e.lo, e.hi) == (pytest.approx(0.49, abs=1e-4), pytest.approx(0.51, abs=1e-4))


def test_what_is_unknown_stays_unknown():
    assert not_negative(Estimate(None)) == Estimate(None)
    alone = Estimate(2.0, n=1, note="no interval from 1 sample")
    assert not_negative(alone) == share_of_one(alone) == alone


def test_no_metric_of_a_record_of_six_requests_is_told_to_be_below_zero_or_above_all():
    summary = summarise(golden_record())
    shares = {key for metric in METRICS if metric.unit == "1" for key in metric.keys}
    for metrics in (summary.metrics, *summary.tiers.values(), *summary.classes.values()):
        for key, e in metrics.items():
            assert e.lo is None or e.lo >= 0, key
            assert e.hi is None or key not in shares or e.hi <= 1, key
