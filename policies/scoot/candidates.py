"""The inner search: lawful configurations that are good in several scores at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from policies.scoot.acquisition import pareto
from policies.scoot.space import Space
from policies.streams import Stream

Floats = NDArray[np.float64]

POPULATION = 512
ROUNDS = 6
_SPREADS = (0.02, 0.1, 0.3)


def pareto_set(space: Space, costs: Callable[[Floats], Floats], known: Floats, tried: Floats, rng: Stream) -> tuple[Floats, Floats]:
    """Untried lawful points, none of which beats another in all costs: points (n, knobs) and their costs (n, scores).

    An evolutionary search: uniform points and neighbours of ``known`` good ones at first, then, for ``ROUNDS`` rounds, children
    of the present Pareto set. The spaces are small and the scores cheap to take for many points at once, so wide rounds do the
    work of the paper's NSGA-II with fewer calls. Empty when the space has nothing untried left to offer.
    """
    seen = {point.tobytes() for point in tried}
    points = np.empty((0, len(space.knobs)))
    values: Floats | None = None
    fresh = np.concatenate([rng.random((POPULATION, len(space.knobs))), _neighbours(known, POPULATION // 2, rng)])
    for _ in range(ROUNDS):
        fresh = space.lawful(_snapped(space, fresh), rng.random(len(fresh)).tolist())
        fresh = np.array([point for point in fresh if point.tobytes() not in seen]).reshape(-1, len(space.knobs))
        seen |= {point.tobytes() for point in fresh}
        if len(fresh):
            scored = costs(fresh)
            points = np.concatenate([points, fresh])
            values = scored if values is None else np.concatenate([values, scored])
            best = pareto(values)
            points, values = points[best], values[best]
        if not len(points):
            fresh = rng.random((POPULATION, len(space.knobs)))
            continue
        fresh = _children(points, POPULATION // 2, rng)
    return points, np.empty((0, 0)) if values is None else values


def _snapped(space: Space, points: Floats) -> Floats:
    return np.column_stack([knob.snap(points[:, i]) for i, knob in enumerate(space.knobs)])


def _neighbours(points: Floats, count: int, rng: Stream) -> Floats:
    """Points near given ones: a few coordinates moved a little or a lot, as each kind of knob has a scale of its own."""
    if not len(points):
        return rng.random((count, points.shape[1]))
    chosen = points[rng.integers(len(points), size=count)]
    moved = rng.random(chosen.shape) < np.maximum(0.25, 1 / chosen.shape[1])
    spread = rng.choice(_SPREADS, size=(count, 1))
    jump = rng.random(chosen.shape) < 0.2
    near = np.clip(chosen + spread * rng.standard_normal(chosen.shape), 0, 1)
    return np.where(moved, np.where(jump, rng.random(chosen.shape), near), chosen)


def _children(points: Floats, count: int, rng: Stream) -> Floats:
    """Uniform crossover of two parents, then a neighbour of it."""
    one, other = (points[rng.integers(len(points), size=count)] for _ in range(2))
    crossed = np.where(rng.random(one.shape) < 0.5, one, other)
    half = count // 2
    return np.concatenate([crossed[:half], _neighbours(crossed[half:], count - half, rng)])
