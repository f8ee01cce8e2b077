"""Arrival processes: their rate and burstiness, and the randomness that arms of a comparison share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.streams import generator
from traces.arrivals import (
    ArrivalProcess,
    Bursts,
    Even,
    Gamma,
    OnOff,
    Poisson,
    VaryingRate,
    Weibull,
    arrival_times,
    weibull_shape,
)
from traces.errors import InputError
from traces.inspect import index_of_dispersion
from traces.quantiles import QuantileTable

BURSTS = Bursts(
    sizes=QuantileTable((0, 50, 100), (1, 20, 300)),
    gaps_within_s=QuantileTable((0, 50, 100), (0.001, 0.05, 0.9)),
    gaps_between_s=QuantileTable((0, 50, 100), (1.0, 3.0, 170.0)),
)
PROFILE = VaryingRate((1.0, 4.0, 0.0, 3.0), step_s=50.0)
STRETCHED = [Poisson(), Gamma(2.5), Weibull(0.5), Weibull(3.0), Even(), BURSTS]
ALL = [*STRETCHED, PROFILE, VaryingRate((2.0, 1.0), 30.0, Gamma(2.0)), OnOff(10.0, 30.0), OnOff(5.0, 5.0, 0.1)]


def times(process: ArrivalProcess, rate: float | None = 5.0, seed: int = 3, **end: float) -> np.ndarray:
    return arrival_times(process, rate=rate, rng=generator(seed, "test"), **end)  # type: ignore[arg-type]


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_arrivals_rise_from_zero_and_end_before_the_duration(process: ArrivalProcess) -> None:
    found = times(process, duration_s=300.0)
    assert len(found) > 100
    assert found[0] >= 0
    assert (np.diff(found) >= 0).all()
    assert found[-1] < 300.0


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_the_long_run_rate_is_the_one_asked_for(process: ArrivalProcess) -> None:
    duration_s = 40_000.0  # a whole number of the profiles' periods
    found = times(process, duration_s=duration_s)
    # Four standard errors of the count, by the dispersion that the process shows in long windows.
    spread = math.sqrt((1 + (index_of_dispersion(found, 200.0) or 0.0)) * len(found))
    assert len(found) == pytest.approx(5.0 * duration_s, abs=4 * spread)


@pytest.mark.parametrize("process", STRETCHED, ids=repr)
@given(slow=st.floats(0.01, 10), faster=st.floats(1.01, 1000), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_at_another_rate_gives_the_same_arrivals_stretched(
    process: ArrivalProcess, slow: float, faster: float, seed: int
) -> None:
    at_slow = times(process, slow, seed, requests=200)
    at_fast = times(process, slow * faster, seed, requests=200)
    np.testing.assert_allclose(at_fast * faster, at_slow, rtol=1e-9)


def test_a_profile_at_twice_the_rate_keeps_its_peaks_where_they_are_and_its_randomness() -> None:
    once, twice = times(PROFILE, 2.0, duration_s=1000.0), times(PROFILE, 4.0, duration_s=1000.0)
    expected = np.asarray([0.125, 0.5, 0.0, 0.375])
    for found in (once, twice):
        np.testing.assert_allclose(np.bincount((found % 200 // 50).astype(int), minlength=4) / len(found), expected, atol=0.03)
    # Operational time is shared: the k-th arrival comes when twice the cumulative intensity has passed.
    edges, cumulative = np.arange(21) * 50.0, np.concatenate([[0], np.cumsum(np.tile([1, 4, 0, 3], 5) * 50.0)])
    k = np.arange(500)
    np.testing.assert_allclose(np.interp(twice[k], edges, cumulative) * 2, np.interp(once[k], edges, cumulative), rtol=1e-9)


def test_a_run_shorter_than_the_profile_still_has_the_mean_rate_asked_for() -> None:
    rising = VaryingRate((1.0, 2.0, 3.0, 4.0), step_s=1000.0)
    assert len(times(rising, 10.0, duration_s=1500.0)) == pytest.approx(15_000, abs=4 * math.sqrt(15_000))


def test_without_a_rate_a_profile_and_measured_bursts_have_their_own() -> None:
    assert len(times(PROFILE, None, duration_s=20_000.0)) == pytest.approx(40_000, abs=4 * math.sqrt(40_000))
    found = times(BURSTS, None, requests=200_000)
    assert len(found) / found[-1] == pytest.approx(BURSTS.natural_rate, rel=0.05)


@pytest.mark.parametrize("process", ALL, ids=repr)
@pytest.mark.parametrize("fewer", [1, 7, 400])
def test_a_shorter_workload_is_the_beginning_of_a_longer_one(process: ArrivalProcess, fewer: int) -> None:
    rate = None if isinstance(process, VaryingRate) else 5.0  # a rate scales a profile to the run's own window
    np.testing.assert_array_equal(times(process, rate, requests=fewer), times(process, rate, requests=1000)[:fewer])


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_seeds_fix_everything(process: ArrivalProcess) -> None:
    np.testing.assert_array_equal(times(process, seed=1, requests=50), times(process, seed=1, requests=50))
    if not isinstance(process, Even):
        assert (times(process, seed=1, requests=50) != times(process, seed=2, requests=50)).any()


def test_whichever_end_comes_first_ends_the_workload() -> None:
    assert len(times(Poisson(), requests=10, duration_s=1000.0)) == 10
    assert len(times(Even(), requests=10_000, duration_s=100.0)) == 500


@pytest.mark.parametrize("cv", [0.3, 0.8, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("kind", [Gamma, Weibull])
def test_gaps_have_the_coefficient_of_variation_asked_for(kind: type[Gamma] | type[Weibull], cv: float) -> None:
    gaps = np.diff(times(kind(cv), requests=300_000))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


@pytest.mark.parametrize("cv", [0.05, 0.5, 1.0, 3.0, 20.0, 100.0])
def test_the_weibull_shape_solves_its_equation(cv: float) -> None:
    shape = weibull_shape(cv)
    assert math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape) == pytest.approx(math.log1p(cv * cv), rel=1e-6)


def test_poisson_counts_vary_as_much_as_their_mean_in_every_window() -> None:
    found = times(Poisson(), requests=200_000)
    for window_s in (0.1, 1.0, 10.0):
        assert index_of_dispersion(found, window_s) == pytest.approx(1.0, abs=0.1)


def test_even_arrivals_have_equal_gaps_and_start_at_once() -> None:
    np.testing.assert_allclose(times(Even(), 4.0, duration_s=2.0), np.arange(8) / 4)


def test_a_renewal_process_is_as_dispersed_in_long_windows_as_its_gaps() -> None:
    assert index_of_dispersion(times(Gamma(3.0), requests=500_000), 100.0) == pytest.approx(9.0, rel=0.15)


def test_on_off_traffic_is_silent_in_between() -> None:
    found = times(OnOff(on_s=10.0, off_s=30.0), 5.0, duration_s=20_000.0)
    gaps = np.diff(found)
    # On at 20/s: a gap of 2 s inside an on period has probability exp(-40), and there is one silence per 40 s.
    assert (gaps > 2).sum() == pytest.approx(20_000 / 40 * math.exp(-2 / 30), rel=0.15)
    assert np.median(gaps) == pytest.approx(math.log(2) / 20, rel=0.05)


def test_bursts_have_the_sizes_and_silences_of_their_tables() -> None:
    gaps = np.diff(times(BURSTS, None, requests=400_000))
    silences = gaps[gaps >= 1.0]
    assert np.median(silences) == pytest.approx(3.0, rel=0.05)
    assert np.median(np.diff(np.flatnonzero(gaps >= 1.0))) == pytest.approx(20, abs=1.5)
    assert np.median(gaps[gaps < 1.0]) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: times(Poisson(), None, requests=5), "no rate of its own; give a rate"),
        (lambda: times(Poisson(), 0.0, requests=5), "give a positive number of requests per second"),
        (lambda: times(Poisson(), 1.0), "give a number of requests or a duration"),
        (lambda: times(Poisson(), 1.0, requests=0), "give at least 1"),
        (lambda: times(Poisson(), 1.0, duration_s=math.inf), "give a positive time"),
        (lambda: Gamma(0.0), "coefficient of variation of 0.0"),
        (lambda: Weibull(math.nan), "coefficient of variation of nan"),
        (lambda: VaryingRate((0.0, 0.0), 1.0), "not all of them 0"),
        (lambda: OnOff(1.0, 0.0), "give positive periods"),
        (lambda: QuantileTable((0, 50), (1, 2)), "include both ends"),
        (lambda: QuantileTable((0, 100), (2, 1)), "not positive and rising"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()  # type: ignore[operator]
