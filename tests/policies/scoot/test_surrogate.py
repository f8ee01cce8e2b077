"""The Gaussian process with input warping, and the forest beside it."""

from __future__ import annotations

import numpy as np
import pytest

from policies.scoot.feasibility import probability_of_feasibility, threshold
from policies.scoot.surrogate import Surrogate, _prior
from policies.scoot.warping import WarpedMatern


def test_the_kernels_gradient_is_its_derivative() -> None:
    rng = np.random.default_rng(0)
    kernel = WarpedMatern(np.array([0.4, 1.2]), np.array([0.7, 1.5]), np.array([1.3, 0.6]))
    points = rng.random((5, 2))
    _, gradient = kernel(points, eval_gradient=True)
    theta = kernel.theta
    for place in range(len(theta)):
        step = np.zeros(len(theta))
        step[place] = 1e-5
        up = kernel.clone_with_theta(theta + step)(points)
        down = kernel.clone_with_theta(theta - step)(points)
        assert gradient[:, :, place] == pytest.approx((up - down) / 2e-5, abs=1e-6)


def test_without_warping_it_is_matern_five_halves() -> None:
    from sklearn.gaussian_process.kernels import Matern

    points = np.random.default_rng(1).random((6, 3))
    assert WarpedMatern.unwarped(3)(points) == pytest.approx(Matern(np.ones(3), nu=2.5)(points), abs=1e-5)


def test_it_predicts_a_smooth_function_and_knows_where_it_does_not() -> None:
    rng = np.random.default_rng(2)
    points = rng.random((40, 2)) * [0.7, 1.0]
    values = np.exp(2 * points[:, 0]) + np.sin(3 * points[:, 1])
    model = Surrogate(points, values, seed=0)
    near = rng.random((200, 2)) * [0.7, 1.0]
    mean, deviation = model.predict(near)
    truth = np.exp(2 * near[:, 0]) + np.sin(3 * near[:, 1])
    assert np.corrcoef(mean, truth)[0, 1] > 0.98
    _, beyond = model.predict(np.column_stack([np.full(50, 1.0), rng.random(50)]))
    assert beyond.mean() > 2 * deviation.mean()


def test_the_priors_gradient_is_its_derivative() -> None:
    theta = np.random.default_rng(7).normal(size=4 + 3 * 2)
    _, slope = _prior(theta)
    for place in range(len(theta)):
        step = np.zeros(len(theta))
        step[place] = 1e-6
        assert slope[place] == pytest.approx((_prior(theta + step)[0] - _prior(theta - step)[0]) / 2e-6, abs=1e-6)


def test_of_nine_knobs_and_a_dozen_observations_it_does_not_pretend_to_know_more_than_it_does() -> None:
    """Without priors every other error is beyond four deviations."""
    errors = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        points, others = rng.random((12, 9)), rng.random((200, 9))
        truth = [3 * (x[:, 0] - 0.3) ** 2 + 2 * (x[:, 1] - 0.6) ** 2 + x[:, 2] for x in (points, others)]
        model = Surrogate(points, truth[0] + 0.02 * rng.standard_normal(12), seed=0)
        mean, deviation = model.predict(others)
        errors.append(np.abs(model.scaled(truth[1]) - mean) / np.hypot(deviation, model.noise))
    assert np.mean(np.concatenate(errors) < 4) > 0.85


def test_what_is_to_be_improved_on_is_the_mean_at_the_lowest_observation_and_not_its_luck() -> None:
    rng = np.random.default_rng(8)
    points = np.repeat(np.linspace(0.05, 0.95, 8), 3)[:, None]
    values = points[:, 0] + 0.3 * rng.standard_normal(24)
    model = Surrogate(points, values, seed=0)
    assert model.best > model.values.min() + 0.3
    assert model.best < np.median(model.values)


def test_what_is_believed_of_a_pending_point_takes_the_doubt_away_and_leaves_the_mean() -> None:
    rng = np.random.default_rng(3)
    points = rng.random((12, 2))
    model = Surrogate(points, points.sum(axis=1), seed=0)
    pending = np.array([[0.95, 0.05]])
    mean, deviation = model.predict(pending)
    model.believe(pending)
    believed, surer = model.predict(pending)
    assert believed == pytest.approx(mean, abs=0.02)
    assert surer[0] < deviation[0]


@pytest.mark.parametrize("values", [np.full(6, 3.0), np.array([-1.0, 0.0, 2.0, 5.0, 1.0, 1e6]), np.arange(6) * 1e-9 + 1e-9])
def test_observations_of_any_scale_are_brought_to_one(values: np.ndarray) -> None:
    model = Surrogate(np.random.default_rng(4).random((6, 1)), values, seed=0)
    assert np.isfinite(model.values).all()
    assert np.abs(model.values).max() < 5
    assert (np.argsort(model.values, kind="stable") == np.argsort(values, kind="stable")).all()


def test_the_forest_learns_where_engines_crash() -> None:
    rng = np.random.default_rng(5)
    points = rng.random((40, 3))
    survived = (points[:, 0] < 0.6).tolist()
    likely = probability_of_feasibility(points, survived, seed=0)
    assert likely(np.array([[0.1, 0.5, 0.5]]))[0] > 0.9
    assert likely(np.array([[0.95, 0.5, 0.5]]))[0] < 0.1


def test_few_trials_or_no_crash_exclude_nothing() -> None:
    points = np.random.default_rng(6).random((20, 2))
    assert probability_of_feasibility(points[:7], [False] * 7, seed=0)(points).min() == 1
    assert probability_of_feasibility(points, [True] * 20, seed=0)(points).min() == 1


def test_the_threshold_rises_with_a_crash_and_falls_with_every_fifth_success() -> None:
    first = [True] * 6 + [False] * 4  # the default's and one per knob of the paper's nine
    assert threshold(first) == 0.5
    assert threshold([*first, False]) == pytest.approx(0.55)
    assert threshold(first + [False] * 9) == 0.75
    assert threshold(first + [True] * 4) == 0.5
    assert threshold(first + [True] * 5) == pytest.approx(0.45)
    assert threshold(first + [True] * 60) == 0.25
    assert threshold([*first, *[True] * 60, False]) == 0.5
