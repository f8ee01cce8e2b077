"""Intervals are right when they cover the truth as often as they say: measured here on processes whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import signal, stats

from traces.intervals import (
    BATCHES,
    Estimate,
    histogram_quantiles,
    mean,
    proportion,
    quantiles,
    ratio,
    ratio_of_samples,
    students_t,
)

LOG2 = math.log(2)
RUNS = 2000


def coverage(estimates: list[Estimate], truth: float) -> float:
    """Share of intervals that hold the truth; an open side holds everything."""
    hits = [(e.lo is None or e.lo <= truth) and (e.hi is None or truth <= e.hi) for e in estimates]
    return sum(hits) / len(hits)


def independent(n, runs=RUNS):
    """Exponential latencies, mean 1."""
    return np.random.default_rng(11).exponential(1.0, (runs, n))


def autoregressive(n, phi=0.9, runs=RUNS):
    """AR(1), standard normal margin, correlation time 1 / (1 − φ)."""
    rng = np.random.default_rng(12)
    shocks = rng.standard_normal((runs, n)) * math.sqrt(1 - phi**2)
    shocks[:, 0] = rng.standard_normal(runs)
    return signal.lfilter([1.0], [1.0, -phi], shocks, axis=1)


def mm1_sojourn(n, load=0.7, runs=RUNS):
    """Successive times in an M/M/1 queue with unit service, from equilibrium: exponential, mean 1 / (1 − load)."""
    rng = np.random.default_rng(13)
    service, gap = rng.exponential(1.0, (n, runs)), rng.exponential(1 / load, (n, runs))
    wait = np.where(rng.random(runs) < load, rng.exponential(1 / (1 - load), runs), 0.0)
    sojourn = np.empty((n, runs))
    for i in range(n):
        sojourn[i] = wait + service[i]
        wait = np.maximum(0.0, sojourn[i] - gap[i])
    return np.ascontiguousarray(sojourn.T)


STREAMS = {
    "independent": (lambda: independent(1000), stats.expon()),
    "independent, short": (lambda: independent(300), stats.expon()),
    "AR(1)": (lambda: autoregressive(6000), stats.norm()),
    "M/M/1": (lambda: mm1_sojourn(12_000), stats.expon(scale=1 / 0.3)),
}


@pytest.fixture(scope="module", params=STREAMS, ids=str)
def stream(request):
    make, law = STREAMS[request.param]
    return make(), law


def test_the_interval_of_a_mean_covers_as_promised(stream):
    runs, law = stream
    assert 0.92 <= coverage([mean(run) for run in runs], law.mean()) <= 0.98


def test_the_intervals_of_p50_and_p99_cover_as_promised(stream):
    runs, law = stream
    found = [quantiles(run, [0.5, 0.99]) for run in runs]
    assert 0.92 <= coverage([p50 for p50, _ in found], law.ppf(0.5)) <= 0.98
    assert 0.92 <= coverage([p99 for _, p99 in found], law.ppf(0.99)) <= 0.98


def test_the_interval_of_an_attainment_covers_as_promised(stream):
    runs, law = stream
    limit = law.ppf(0.9)
    assert 0.92 <= coverage([proportion(run <= limit) for run in runs], 0.9) <= 0.98


def test_the_interval_of_a_high_attainment_covers_as_promised():
    met = np.random.default_rng(14).random((RUNS, 1000)) < 0.98
    assert 0.92 <= coverage([proportion(run) for run in met], 0.98) <= 0.98


def test_an_attainment_near_100_percent_is_covered_though_misses_come_together():
    """In 1,500 requests of a busy queue the 1 % that miss come in one or two spells, or not at all."""
    limit = stats.expon(scale=1 / 0.3).ppf(0.99)
    runs = mm1_sojourn(1500, runs=600)
    assert np.mean([(run <= limit).all() for run in runs]) > 0.1
    assert coverage([proportion(run <= limit, strain=run) for run in runs], 0.99) >= 0.95
    assert coverage([proportion(run <= limit) for run in runs], 0.99) < 0.92  # if misses are taken as independent


def test_where_nothing_missed_the_requests_that_came_nearest_tell_how_little_that_says():
    run = autoregressive(6000, runs=1)[0]
    all_met = np.ones(len(run), bool)
    clustered, shuffled = (proportion(all_met, strain) for strain in (run, np.random.default_rng(21).permutation(run)))
    assert clustered.lo < shuffled.lo < 1.0 == clustered.hi
    assert 5 < (1 - clustered.lo) / (1 - shuffled.lo) < 40


def test_the_interval_of_a_goodput_covers_as_promised():
    # M/M/1 at 0.7 arrivals per unit of time: requests in time per unit of time, counted in time slices
    rng = np.random.default_rng(15)
    sojourn = mm1_sojourn(12_000)
    span = 12_000 / 0.7 * 0.9  # safely inside every run
    found = []
    for run in sojourn:
        arrival = np.cumsum(rng.exponential(1 / 0.7, len(run)))
        met, _ = np.histogram(arrival[run <= 3.0], np.linspace(0, span, BATCHES + 1))
        found.append(ratio(met.astype(float), np.full(BATCHES, span / BATCHES), int(met.sum())))
    truth = 0.7 * (1 - math.exp(-0.3 * 3.0))
    assert 0.92 <= coverage(found, truth) <= 0.98


def test_the_interval_of_a_ratio_of_sums_covers_as_promised():
    # cost per token: correlated numerators and denominators, E[y] / E[x] = 3
    rng = np.random.default_rng(16)
    tokens = rng.exponential(100.0, (RUNS, 2000))
    cost = 3 * tokens * rng.lognormal(-0.125, 0.5, tokens.shape)
    assert 0.92 <= coverage([ratio_of_samples(y, x) for y, x in zip(cost, tokens, strict=True)], 3.0) <= 0.98


def test_the_interval_of_an_itl_quantile_covers_as_promised():
    # each step makes 50 equal gaps; step times follow an AR(1) on the log scale; the histogram has forgotten their order
    z = autoregressive(6000, phi=0.8)
    width = math.log(1.005)
    truth = 0.02 * math.exp(0.3 * stats.norm.ppf(0.95))
    found = []
    for run in z:
        gap = 0.02 * np.exp(0.3 * run)
        bins, counts = np.unique(np.floor(np.log(gap) / width), return_counts=True)
        values = np.exp((bins + 0.5) * width)
        value = values[np.searchsorted(np.cumsum(counts) / len(gap), 0.95)]
        below = (50.0 * (gap <= value))[: len(gap) // BATCHES * BATCHES].reshape(BATCHES, -1).sum(axis=1)
        weight = np.full(BATCHES, 50.0 * (len(gap) // BATCHES))
        found += histogram_quantiles(values, 50.0 * counts, [0.95], [(below, weight)], 0.0025)
    assert 0.92 <= coverage(found, truth) <= 0.98


def test_a_p99_is_marked_in_short_runs_of_a_busy_queue_and_not_in_long_ones_where_it_holds():
    truth = stats.expon(scale=1 / 0.3).ppf(0.99)
    short, long = ([quantiles(run, [0.99])[0] for run in mm1_sojourn(n, runs=400)] for n in (3000, 12_000))
    assert np.mean(["independent excursion" in e.note for e in short]) > 0.97
    assert np.mean([bool(e.note) for e in long]) < 0.03
    assert 0.92 <= coverage([e for e in long if not e.note], truth) <= 0.98


def test_where_one_run_in_five_is_marked_the_others_hold():
    """A mark that were given to runs of much luck would leave the rest to be those of little."""
    found = [quantiles(run, [0.99])[0] for run in mm1_sojourn(6000, runs=RUNS)]
    assert 0.1 < np.mean([bool(e.note) for e in found]) < 0.4
    assert coverage([e for e in found if not e.note], stats.expon(scale=1 / 0.3).ppf(0.99)) >= 0.915


def test_taking_requests_as_independent_would_not_cover():
    runs = autoregressive(6000, runs=300)
    naive = [abs(run.mean()) <= 1.96 * run.std() / math.sqrt(len(run)) for run in runs]
    assert np.mean(naive) < 0.5


def test_a_correlated_stream_gets_a_wider_interval_than_its_shuffle():
    rng = np.random.default_rng(17)
    run = autoregressive(6000, runs=1)[0]
    shuffled = rng.permutation(run)
    wide, narrow = mean(run), mean(shuffled)
    assert wide.value == pytest.approx(narrow.value)
    # independent samples would do with n (1 − φ) / (1 + φ) of them: √19 times as wide
    assert 3 < (wide.hi - wide.lo) / (narrow.hi - narrow.lo) < 6


def test_a_quantile_is_numpys_and_its_interval_lies_on_samples():
    run = np.random.default_rng(18).exponential(1.0, 1000)
    for p, estimate in zip((0.5, 0.9, 0.99), quantiles(run, [0.5, 0.9, 0.99]), strict=True):
        assert estimate.value == pytest.approx(np.quantile(run, p))
        assert estimate.lo in run
        assert estimate.hi in run
        assert estimate.n == 1000


def test_full_attainment_still_has_a_lower_end_below_one():
    # Wilson: n / (n + z²)
    assert proportion(np.ones(100, bool)) == Estimate(1.0, pytest.approx(100 / (100 + 1.96**2), rel=1e-4), 1.0, 100)
    assert proportion(np.zeros(100, bool)).hi == pytest.approx(1.96**2 / (100 + 1.96**2), rel=1e-3)


def test_a_constant_has_an_interval_without_width():
    assert mean(np.full(50, 0.25)) == Estimate(0.25, 0.25, 0.25, 50)
    assert quantiles(np.full(1000, 0.25), [0.5])[0] == Estimate(0.25, 0.25, 0.25, 1000)


def test_no_samples_means_unknown():
    nothing = np.empty(0)
    assert mean(nothing) == quantiles(nothing, [0.5])[0] == proportion(nothing.astype(bool)) == Estimate(None)
    assert ratio(np.zeros(4), np.zeros(4), 0) == Estimate(None)


def test_one_or_two_samples_have_no_interval():
    assert mean(np.array([2.0])) == Estimate(2.0, None, None, 1, "no interval from 1 sample")
    assert mean(np.array([2.0, 4.0])).lo is None
    assert quantiles(np.array([2.0]), [0.5])[0].value == 2.0


@pytest.mark.parametrize(("p", "n"), [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_a_percentile_needs_at_least_one_sample_beyond_it(p, n):
    run = np.random.default_rng(19).random(n + 1)
    assert quantiles(run[:n], [p])[0].note == f"from {n} samples; p{100 * p:g} needs {n + 1}"
    assert "needs" not in quantiles(run, [p])[0].note


def test_a_p99_that_the_samples_cannot_bound_has_no_upper_end():
    # of 100 independent samples, all lie below the true p99 with probability 0.99¹⁰⁰ = 37 %
    estimate = quantiles(np.random.default_rng(20).random(100), [0.99])[0]
    assert estimate.hi is None
    assert estimate.lo is not None


def test_students_t_agrees_with_scipy():
    for degrees in (1, 1.1, 1.4, 2.2, 3.5, 7, 10.67, 25, 1e9):
        assert students_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.01)
