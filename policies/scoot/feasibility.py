"""Hidden constraints: which configurations the engine will not survive, learned from those that it did not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

Floats = NDArray[np.float64]

FEWEST = 8
"""Trials from which on a forest is fitted; before, everything passes."""


def probability_of_feasibility(points: Floats, survived: Sequence[bool], *, seed: int) -> Callable[[Floats], Floats]:
    """A function from points, shape (n, knobs), to the estimated probability that each survives, shape (n,).

    A random forest on all trials, 1 = survived, 0 = crashed; certainty while there are few trials, or no crash.
    """
    if len(points) < FEWEST or all(survived):
        return lambda candidates: np.ones(len(candidates))
    forest = RandomForestRegressor(random_state=seed).fit(points, np.asarray(survived, dtype=np.float64))
    predict: Callable[[Floats], Floats] = forest.predict
    return predict


def threshold(survived: Sequence[bool], *, steady: int = 10) -> float:
    """Δ, the probability of feasibility that a suggestion must reach, after the trials so far, in their order.

    0.5 at first. After the first ``steady`` trials, the default's and one per knob of the paper's nine, a crash raises it by 0.05,
    to 0.5 at least and 0.75 at most, and every fifth success in a row lowers it by 0.05, to 0.25 at least. Source: Ketonmi/SCOOT,
    ``bo_scoot.py``, whose counter is 1 when the default has been tried and must be above 9.
    """
    delta, streak = 0.5, 0
    for alive in survived[steady:]:
        if not alive:
            delta, streak = min(0.75, max(delta + 0.05, 0.5)), 0
            continue
        streak += 1
        if streak == 5:
            delta, streak = max(0.25, delta - 0.05), 0
    return delta
