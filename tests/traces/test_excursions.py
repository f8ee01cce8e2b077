"""The number of independent excursions is right on streams whose clusters are known."""

from __future__ import annotations

import numpy as np
import pytest

from traces.excursions import extremal_index, independent_share


def moving_maximum(width, n=20_000, seed=1):
    """Each sample the largest of ``width`` independent ones: what exceeds a level does so ``width`` times in a row."""
    raw = np.random.default_rng(seed).exponential(1.0, n + width - 1)
    return np.lib.stride_tricks.sliding_window_view(raw, width).max(axis=1)


@pytest.mark.parametrize("width", [1, 2, 5, 10])
def test_clusters_of_known_size_are_told(width):
    x = moving_maximum(width)
    beyond = np.flatnonzero(x > np.quantile(x, 0.99))
    assert extremal_index(beyond) == pytest.approx(1 / width, rel=0.25)


def test_independent_samples_are_their_own_clusters():
    x = np.random.default_rng(2).exponential(1.0, 3000)
    assert independent_share(x, np.sort(x)) == pytest.approx(1.0, abs=0.08)


def test_a_constant_and_a_lone_sample_have_no_clusters():
    assert independent_share(np.full(50, 0.25), np.full(50, 0.25)) == 1.0
    assert independent_share(np.array([1.0]), np.array([1.0])) == 1.0


def test_it_is_told_alike_in_runs_of_one_length():
    """Else the runs that are marked would differ from those that are not by luck alone."""
    found = [independent_share(x, np.sort(x)) for x in (moving_maximum(10, 4000, seed) for seed in range(50))]
    assert np.std(found) < 0.15 * np.mean(found)
