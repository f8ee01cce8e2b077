"""Tuning in production: never far from what runs today.

Every trial tells quantities that users would notice (``GUARDED``, costs: small is good and all are positive). They are to stay
within a band: at most ``1 + canary`` times what they were in the default configuration. A suggestion is taken only where each is
believed to, two deviations to the bad side included, and only a step away, in two knobs at most, from a configuration that has:
far from what was seen a model believes in the average. Before there is anything to believe, suggestions differ in one knob, by
one level, from the best configuration that has stayed inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.scoot.space import LogIntegers, Space
from policies.scoot.surrogate import Surrogate
from policies.streams import Stream

Floats = NDArray[np.float64]

GUARDED = "guarded"
"""User attribute of a trial: the guarded costs, in a fixed order."""
_STEP = 0.1
"""One step of a knob without levels, as a share of its axis."""
_REACH = 0.25
_MOST_MOVED = 2
_DEVIATIONS = 2.0
_FAR = 10.0
"""Costs above so many times the default's teach no more than that; a cost may be infinite."""
_TRIES = 400


def within(costs: Floats, default: int, canary: float) -> NDArray[np.bool_]:
    """Which trials stayed within the band. ``costs``: shape (trials, guarded); ``default``: the default configuration's row."""
    inside: NDArray[np.bool_] = (costs <= costs[default] * (1 + canary)).all(axis=1)
    return inside


def beyond(
    space: Space, points: Floats, costs: Floats, default: int | None, canary: float, rng: Stream
) -> Callable[[Floats], Floats]:
    """A function from points, shape (n, knobs), to how far each is out of reach or believed to leave the band; 0 = neither.

    ``default``: the default configuration's row; where it crashed, nothing is known to be safe, and all points are judged alike.
    """
    if default is None or not costs.size:
        return lambda candidates: np.zeros(len(candidates))
    safe = points[within(costs, default, canary)]
    costs = np.minimum(costs, _FAR * costs[default])
    models = [Surrogate(points, column, seed=int(rng.integers(2**31))) for column in costs.T]
    limits = [
        float(model.scaled(np.array([column[default] * (1 + canary)]))[0]) for model, column in zip(models, costs.T, strict=True)
    ]

    reach = np.array(
        [_REACH if isinstance(k, LogIntegers) else max(_REACH, np.diff(k.places).max(initial=0.0)) for k in space.knobs]
    )

    def far(candidates: Floats) -> Floats:
        steps = np.abs(candidates[:, None, :] - safe[None, :, :]) / reach
        moved = (steps > 1e-9).sum(axis=2)
        total: Floats = (np.maximum(0.0, steps - 1 - 1e-9).sum(axis=2) + np.maximum(0, moved - _MOST_MOVED)).min(axis=1)
        for model, limit in zip(models, limits, strict=True):
            mean, deviation = model.predict(candidates)
            total += np.maximum(0.0, mean + _DEVIATIONS * deviation - limit)
        return total

    return far


def step_aside(space: Space, centre: Floats, tried: Floats, rng: Stream) -> dict[str, Any]:
    """An untried lawful configuration, one knob and one level away from ``centre``; two knobs away where those are used up."""
    seen = {point.tobytes() for point in tried}
    for attempt in range(_TRIES):
        point = centre.copy()
        for i in rng.permutation(len(space.knobs))[: 1 + attempt // (_TRIES // 4)]:
            knob = space.knobs[i]
            way = 1 if rng.random() < 0.5 else -1
            if isinstance(knob, LogIntegers):
                point[i] = np.clip(point[i] + way * _STEP, 0.0, 1.0)
            else:
                level = int(np.abs(knob.places - point[i]).argmin()) + way
                point[i] = knob.places[np.clip(level, 0, len(knob.values) - 1)]
        config = space.repaired(space.config(point), float(rng.random()))
        if space.allows(config) and space.unit(config).tobytes() not in seen:
            return dict(config)
    return dict(space.default)
