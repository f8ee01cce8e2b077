"""Prediction intervals of extrapolated runs hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from policies.extrapolation import MAVERIQ_MODELS, RTX_A6000_EXTRAPOLATION, Residuals, Runs
from policies.extrapolation.interval import LEAST

RNG = np.random.default_rng(3)
RANKS = np.array([1] * 400 + [8] * 400)
LOGS = np.concatenate([RNG.normal(0, 0.01, 400), RNG.normal(0.05, 0.1, 400)])
KNOWN = Residuals.of(LOGS, RANKS)


def test_an_interval_holds_the_share_that_it_is_asked_for() -> None:
    new = np.concatenate([RNG.normal(0, 0.01, 4000), RNG.normal(0.05, 0.1, 4000)])
    ranks = np.array([1] * 4000 + [8] * 4000)
    for level in (0.5, 0.9, 0.95):
        found = KNOWN.around(np.ones(8000), ranks, level)
        inside = (found.lo <= np.exp(new)) & (np.exp(new) <= found.hi)
        assert inside[:4000].mean() == pytest.approx(level, abs=0.04)
        assert inside[4000:].mean() == pytest.approx(level, abs=0.04)


def test_more_ranks_whose_links_are_less_known_have_wider_intervals() -> None:
    one, eight = np.log(np.divide(*KNOWN.around(np.ones(2), np.array([1, 8]))[:0:-1]))
    assert eight > 5 * one


def test_ranks_without_residuals_enough_have_the_interval_of_all() -> None:
    found = KNOWN.around(np.array([2.0]), np.array([4]))
    low, high = np.quantile(LOGS, [0.05, 0.95])
    assert found.lo == pytest.approx(2 * np.exp(low), rel=0.02)
    assert found.hi == pytest.approx(2 * np.exp(high), rel=0.02)


def test_a_higher_level_is_never_narrower() -> None:
    widths = [np.ptp([*KNOWN.around(np.ones(1), np.array([1]), level)[1:]]) for level in (0.5, 0.8, 0.9, 0.95, 0.98)]
    assert widths == sorted(widths)


def test_too_few_residuals_or_too_high_a_level_are_refused() -> None:
    with pytest.raises(ValueError, match=f"{LEAST - 1} residuals tell no interval"):
        Residuals.of(LOGS[: LEAST - 1], RANKS[: LEAST - 1])
    with pytest.raises(ValueError, match=r"level is 0\.99; give a share of at most 0\.98"):
        KNOWN.around(np.ones(1), np.array([1]), 0.99)


def test_known_hardware_answers_with_latency_and_memory_of_every_deployment() -> None:
    llama = MAVERIQ_MODELS["llama-2-70b"]
    runs = Runs.of(llama, tp=[2, 4, 8], precision="int8", prompt=923, output=100)
    for found in (RTX_A6000_EXTRAPOLATION.latency_s(llama, runs), RTX_A6000_EXTRAPOLATION.memory_bytes(llama, runs)):
        assert (found.lo < found.hi).all()
        assert np.isfinite(found.mean).all()
        assert (np.abs(np.log(found.hi / found.lo)) < 0.5).all()
