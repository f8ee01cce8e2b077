"""Acquisition functions against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from policies.scoot.acquisition import (
    free_boxes,
    hypervolume,
    hypervolume_improvement,
    log_expected_improvement,
    log_probability_of_improvement,
    pareto,
)


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.0, 1.0, 0.0), (1.5, 0.4, 1.0), (-2.0, 0.1, -1.9), (3.0, 0.5, 0.0)])
def test_expected_improvement_is_the_integral_that_defines_it(mean: float, deviation: float, best: float) -> None:
    expected, _ = quad(lambda f: (best - f) * norm.pdf(f, mean, deviation), mean - 12 * deviation, best)
    found = log_expected_improvement(np.array([mean]), np.array([deviation]), best)[0]
    assert np.exp(found) == pytest.approx(expected, rel=1e-6)
    assert np.exp(log_probability_of_improvement(np.array([mean]), np.array([deviation]), best)[0]) == pytest.approx(
        norm.cdf(best, mean, deviation)
    )


def test_expected_improvement_still_ranks_points_that_are_hopeless() -> None:
    far = log_expected_improvement(np.array([30.0, 40.0, 60.0]), np.ones(3), 0.0)
    assert np.isfinite(far).all()
    assert (np.diff(far) < 0).all()


def test_pareto_keeps_equals_and_drops_whoever_is_beaten() -> None:
    costs = np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 2.0], [2.0, 3.0], [3.0, 1.0]])
    assert pareto(costs).tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_the_free_boxes_are_exactly_what_no_point_of_the_front_dominates(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    front = rng.random((12, objectives))
    reference = np.full(objectives, 0.9)
    low, high = free_boxes(front, reference)
    samples = rng.random((4000, objectives))
    inside = ((samples[:, None, :] >= low) & (samples[:, None, :] < high)).all(axis=2).sum(axis=1)
    dominated = (front[None, :, :] <= samples[:, None, :]).all(axis=2).any(axis=1)
    below = (samples < reference).all(axis=1)
    assert inside.max() <= 1  # disjoint
    assert (inside.astype(bool) == (below & ~dominated)).all()


def test_a_point_gains_the_volume_that_it_adds() -> None:
    front = np.array([[1.0, 3.0], [2.0, 2.0]])
    reference = np.array([4.0, 4.0])
    ideal = np.zeros(2)
    before = hypervolume(front, reference, ideal)
    assert before == pytest.approx(3 * 1 + 2 * 1)  # by hand: a strip of 3 × 1 and one of 2 × 1
    point = np.array([1.5, 0.5])
    after = hypervolume(np.vstack([front, point]), reference, ideal)
    assert hypervolume_improvement(point[None], front, reference)[0] == pytest.approx(after - before)
    assert hypervolume_improvement(np.array([[2.5, 2.5]]), front, reference)[0] == 0
