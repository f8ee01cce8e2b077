"""The inner search against all configurations there are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.scoot.acquisition import (
    exploration,
    log_expected_improvement,
    log_probability_of_improvement,
    lower_confidence_bound,
)
from policies.scoot.candidates import pareto_set
from policies.scoot.space import LogIntegers, Space
from policies.scoot.spaces import vllm
from policies.scoot.surrogate import Surrogate
from policies.streams import generator

Floats = NDArray[np.float64]

WHOLE = vllm(gpus=4, max_model_len=4096, most_batched_tokens=8192)
SPACE = Space(WHOLE.knobs, (), WHOLE.default)
"""Without rules, so that all configurations can be listed at once."""
PLACES = [knob.places for knob in SPACE.knobs if not isinstance(knob, LogIntegers)]


def rugged(seed: int) -> Callable[[Floats], Floats]:
    """An objective in which each value of each knob is worth a number of its own, so that no knob is smooth."""
    rng = generator(seed, "rugged")
    worth = [rng.standard_normal(len(places)) for places in PLACES]

    def objective(points: Floats) -> Floats:
        nearest = [np.abs(places - column[:, None]).argmin(axis=1) for places, column in zip(PLACES, points.T, strict=True)]
        return np.sum([values[i] for values, i in zip(worth, nearest, strict=True)], axis=0)

    return objective


@pytest.mark.parametrize("seed", [1, 2])
def test_it_comes_as_near_to_the_best_scores_of_all_configurations_as_makes_no_difference(seed: int) -> None:
    rng = generator(seed, "search")
    tried = SPACE.lawful(rng.random((20, len(PLACES))), rng.random(20).tolist())
    values = rugged(seed)(tried)
    model = Surrogate(tried, values, seed=seed)
    kappa = exploration(len(tried), len(PLACES))

    def costs(points: Floats) -> Floats:
        mean, deviation = model.predict(points)
        bound = lower_confidence_bound(mean, deviation, kappa=kappa)
        expected = log_expected_improvement(mean, deviation, model.best)
        return np.column_stack([bound, -expected, -log_probability_of_improvement(mean, deviation, model.best)])

    every = np.array(list(product(*PLACES)))
    assert len(every) > 100_000
    best = np.min([costs(part).min(axis=0) for part in np.array_split(every, 20)], axis=0)
    _, found = pareto_set(SPACE, costs, tried[[int(np.argmin(values))]], tried, rng)
    assert (found.min(axis=0) - best <= 0.05).all()  # in deviations of the objective, and in logarithms
