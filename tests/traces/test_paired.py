"""Intervals of differences are right when they cover the truth as often as they say: measured on pairs of streams."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import signal, stats

from traces.paired import ENOUGH_SEEDS, Contrast, contrast, pool, quantile_contrast, ratio, stands

RUNS, N = 600, 4000
LATER = 1.2
"""B's latencies are on average this many times A's."""


def paired_streams(runs=RUNS, n=N, shared=0.9, seed=1):
    """Exponential latencies on a Gaussian AR(1); B's follow A's with correlation ``shared`` and are 1.2 times as long."""
    rng = np.random.default_rng(seed)

    def correlated():
        shocks = rng.standard_normal((runs, n)) * math.sqrt(1 - 0.8**2)
        shocks[:, 0] = rng.standard_normal(runs)
        return signal.lfilter([1.0], [1.0, -0.8], shocks, axis=1)

    one, other = correlated(), correlated()
    a, b = (stats.expon.ppf(stats.norm.cdf(z)) for z in (one, shared * one + math.sqrt(1 - shared**2) * other))
    return a, LATER * b


@pytest.fixture(scope="module")
def streams():
    return paired_streams()


def covered(pooled, truth):
    return np.mean([e.lo <= truth <= e.hi for e in pooled])


def mean_contrast(a, b, **options):
    ones = np.ones(len(a))
    return contrast(ratio(a, ones), ratio(b, ones), len(a), **options)


def share_contrast(a, b, limit):
    ones = np.ones(len(a))
    event = 1 / (len(a) + 2)
    return contrast(ratio((a <= limit) * 1.0, ones, event), ratio((b <= limit) * 1.0, ones, event), len(a))


def test_a_difference_of_means_of_known_size_is_covered_as_promised(streams):
    found = [pool([mean_contrast(a, b)]) for a, b in zip(*streams, strict=True)]
    assert 0.92 <= covered(found, LATER - 1) <= 0.98


def test_a_difference_of_attainments_of_known_size_is_covered_as_promised(streams):
    found = [pool([share_contrast(a, b, 3.0)]) for a, b in zip(*streams, strict=True)]
    assert 0.92 <= covered(found, stats.expon.cdf(3.0 / LATER) - stats.expon.cdf(3.0)) <= 0.98


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_a_difference_of_quantiles_of_known_size_is_covered_as_promised(streams, p):
    everyone = np.ones(N, bool)
    found = [pool([quantile_contrast(a, everyone, b, everyone, p)]) for a, b in zip(*streams, strict=True)]
    known = [e for e in found if e.lo is not None]
    assert len(known) > 0.98 * RUNS  # now and then a burst leaves too few excursions beyond the p99
    assert 0.92 <= covered(known, (LATER - 1) * stats.expon.ppf(p)) <= 0.98


@pytest.mark.parametrize("seeds", [2, 5, ENOUGH_SEEDS])
def test_several_seeds_are_covered_as_promised(streams, seeds):
    contrasts = [mean_contrast(a, b) for a, b in zip(*streams, strict=True)]
    if seeds >= ENOUGH_SEEDS:  # few groups, so take each run several times, in other company
        order = np.random.default_rng(2).permuted(np.tile(np.arange(RUNS), (6, 1)), axis=1).ravel()
        contrasts = [contrasts[i] for i in order]
    found = [pool(contrasts[i : i + seeds]) for i in range(0, len(contrasts), seeds)]
    assert 0.92 <= covered(found, LATER - 1) <= 0.985


def test_what_the_arms_share_cancels(streams):
    paired = [mean_contrast(a, b) for a, b in zip(*streams, strict=True)]
    apart = [mean_contrast(a, b, paired=False) for a, b in zip(*streams, strict=True)]
    assert np.mean([c.error for c in paired]) < 0.6 * np.mean([c.error for c in apart])
    assert [c.alone for c in paired] == [c.error for c in apart]
    # the estimated saving is the one that there is
    a, b = (stream.mean(axis=1) for stream in streams)
    saving = (a.var() + b.var()) / (b - a).var()
    assert np.median([pool([c]).gain for c in paired]) == pytest.approx(saving, rel=0.25)


def test_an_arm_against_itself_differs_by_nothing(streams):
    a = streams[0][0]
    everyone = np.ones(N, bool)
    for found in (mean_contrast(a, a), quantile_contrast(a, everyone, a, everyone, 0.99)):
        pooled = pool([found])
        assert (pooled.difference, pooled.lo, pooled.hi, pooled.p) == (0, 0, 0, 1)


def test_arms_that_agree_on_every_verdict_still_have_an_interval():
    # 3.7 misses in n would be seen with 97.5 %; Agresti & Min's interval is about half of that
    a = np.ones(1000)
    found = pool([share_contrast(a, a + 0.1, 3.0)])
    assert found.difference == 0
    assert found.hi == pytest.approx(1.96 / 1002, rel=0.01)


def test_a_p99_of_few_samples_has_no_interval_and_says_why():
    a, b = np.random.default_rng(3).exponential(1.0, (2, 150))
    everyone = np.ones(150, bool)
    found = pool([quantile_contrast(a, everyone, b, everyone, 0.99)])
    assert (found.lo, found.hi) == (None, None)
    assert found.note == "no interval: too few independent samples beyond p99"


def test_a_statistic_that_an_arm_does_not_have_has_no_difference():
    a, none = np.ones(50), np.zeros(50, bool)
    assert quantile_contrast(a, ~none, a, none, 0.5) is None
    assert ratio(a, np.zeros(50)) is None


def known(difference, error, degrees=10.0):
    return Contrast(a=1.0, b=1.0 + difference, n=100, error=error, degrees=degrees, alone=3 * error)


def test_seeds_that_differ_more_than_single_runs_let_expect_decide_by_their_spread():
    calm = pool([known(d, 0.1) for d in (0.9, 1.0, 1.1, 1.0)])
    wild = pool([known(d, 0.1) for d in (-1.0, 0.0, 2.0, 3.0)])
    assert calm.note == ""
    assert calm.hi - calm.lo < 0.25
    assert "seeds differ by more than single runs let expect" in wild.note
    assert wild.hi - wild.lo > 2 * 3.18 * np.std([-1, 0, 2, 3], ddof=1) / 2 * 0.99


def test_from_ten_seeds_on_only_their_spread_counts():
    differences = np.random.default_rng(4).normal(1.0, 0.5, ENOUGH_SEEDS)
    found = pool([known(d, math.nan) for d in differences])
    half = stats.t.ppf(0.975, ENOUGH_SEEDS - 1) * differences.std(ddof=1) / math.sqrt(ENOUGH_SEEDS)
    assert (found.lo, found.hi) == pytest.approx((differences.mean() - half, differences.mean() + half))


def test_four_seeds_tell_the_error_that_a_single_run_does_not():
    tells_none = [known(d, math.nan) for d in (0.9, 1.0, 1.1, 1.2)]
    assert pool(tells_none).lo < 1.05 < pool(tells_none).hi
    assert pool(tells_none[:3]).lo is None


def test_p_values_and_intervals_agree():
    assert pool([known(0.2227, 0.1)]).p == pytest.approx(0.05, rel=0.01)  # t with 10 degrees of freedom: 2.228
    assert pool([known(0.0, 0.1)]).p == pytest.approx(1.0)


def test_holm_lets_stand_what_stands_among_many():
    assert stands([0.001, 0.02, 0.04, None]) == [True, True, True, False]
    assert stands([0.001, 0.03, 0.04]) == [True, False, False]
    assert stands([0.04] * 20) == [False] * 20
    rng = np.random.default_rng(5)
    false_alarms = [any(stands(rng.random(40))) for _ in range(1000)]
    assert np.mean(false_alarms) < 0.07
