"""Which point promises most: acquisition functions over a surrogate's means and deviations. All objectives are to be small."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

Floats = NDArray[np.float64]


def lower_confidence_bound(mean: Floats, deviation: Floats, *, kappa: float) -> Floats:
    """mean − κ · deviation; the smaller, the more promising."""
    return mean - kappa * deviation


def exploration(observations: int, knobs: int, *, delta: float = 0.01) -> float:
    """κ of the lower confidence bound after ``observations``, as in SCOOT's code (GP-UCB's schedule, Srinivas et al. 2010)."""
    growth = (2 + knobs / 2) * np.log(max(2, observations))
    return float(np.sqrt(2 * 0.5 * (growth + np.log(3 * np.pi**2 / (3 * delta)))))


def log_expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """log E[max(0, best − f)], stable far from the best (Ament et al., NeurIPS 2023); the larger, the more promising."""
    z = (best - mean) / deviation
    density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near = np.log(np.maximum(z * ndtr(z) + np.exp(density), 1e-300))
    far = density - 2 * np.log(np.maximum(np.abs(z), 1e-12))
    improvement: Floats = np.where(z > -20, near, far) + np.log(deviation)
    return improvement


def log_probability_of_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """log P[f < best]; the larger, the more promising."""
    logarithm: Floats = log_ndtr((best - mean) / deviation)
    return logarithm


def pareto(costs: Floats) -> NDArray[np.bool_]:
    """Which rows of ``costs``, shape (n, objectives), no other row is at least as small as everywhere and smaller somewhere."""
    kept = np.ones(len(costs), dtype=bool)
    for i, row in enumerate(costs):
        if kept[i]:
            beaten = (costs >= row).all(axis=1) & (costs > row).any(axis=1)
            kept &= ~beaten
    return kept


def free_boxes(front: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """The region that no point of ``front`` dominates, below ``reference``, as disjoint boxes: lower and upper corners.

    ``front``: shape (n, m) with m of 1 to 3, to be small. Lower corners reach to −∞. O(n^(m−1)) boxes.

    Raises:
        ValueError: more than three objectives.
    """
    front = front[(front < reference).all(axis=1)]
    front = front[pareto(front)] if len(front) else front
    m = len(reference)
    if m > 3:
        raise ValueError(f"{m} objectives; expected hypervolume improvement is there for one to three")
    if not len(front):
        return np.full((1, m), -np.inf), reference[None, :].astype(np.float64)
    if m == 1:
        return np.array([[-np.inf]]), front.min(axis=0)[None, :]
    if m == 2:
        return _strips(front, reference)
    heights = np.unique(front[:, 2])
    edges = np.concatenate([[-np.inf], heights, [reference[2]]])
    lows, highs = [], []
    for below, above in pairwise(edges.tolist()):
        low, high = free_boxes(front[front[:, 2] <= below][:, :2], reference[:2])
        lows.append(np.column_stack([low, np.full(len(low), below)]))
        highs.append(np.column_stack([high, np.full(len(high), above)]))
    return np.concatenate(lows), np.concatenate(highs)


def _strips(front: Floats, reference: Floats) -> tuple[Floats, Floats]:
    stairs = front[np.argsort(front[:, 0])]
    left = np.concatenate([[-np.inf], stairs[:, 0]])
    right = np.concatenate([stairs[:, 0], [reference[0]]])
    top = np.concatenate([[reference[1]], stairs[:, 1]])
    return np.column_stack([left, np.full(len(left), -np.inf)]), np.column_stack([right, top])


def hypervolume(front: Floats, reference: Floats, ideal: Floats) -> float:
    """Volume between ``ideal`` and ``reference`` that ``front`` dominates; ``ideal`` is below every point of the front."""
    low, high = free_boxes(front, reference)
    free = np.prod(np.maximum(high - np.maximum(low, ideal), 0.0), axis=1).sum()
    return float(np.prod(reference - ideal) - free)


def hypervolume_improvement(samples: Floats, front: Floats, reference: Floats) -> Floats:
    """By how much each of ``samples``, shape (..., m), would enlarge the dominated volume; shape (...)."""
    low, high = free_boxes(front, reference)
    flat = samples.reshape(-1, samples.shape[-1])
    gain = np.empty(len(flat))
    for start in range(0, len(flat), 512):
        part = flat[start : start + 512, None, :]
        gain[start : start + 512] = np.prod(np.maximum(high - np.maximum(low, part), 0.0), axis=2).sum(axis=1)
    return gain.reshape(samples.shape[:-1])
