"""Arrivals that were logged on ticks: seeing that they were, and spreading them inside their tick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def tick_of(arrival_s: Floats) -> float | None:
    """Seconds between the ticks on which sorted arrivals sit; ``None`` when they do not sit on ticks.

    They do when requests share instants and at least 98 % of the gaps between instants are whole multiples (within 2 %) of the
    median gap, that being at least 0.5 s. The Mooncake traces' ticks are 3 s apart, to 1 ms.
    """
    instants = np.unique(arrival_s)
    if len(instants) < 3 or len(instants) > len(arrival_s) // 2:
        return None
    gaps = np.diff(instants)
    tick = float(np.median(gaps))
    whole = np.maximum(np.round(gaps / tick), 1)
    on_ticks = np.abs(gaps / tick - whole) <= 0.02 * whole
    return round(tick, 2) if tick >= 0.5 and np.mean(on_ticks) >= 0.98 else None


def spread(arrival_s: Floats, tick_s: float, rng: np.random.Generator) -> Floats:
    """Each arrival uniform in the tick that it was logged at, order kept; never later than the next tick."""
    instants, tick_index = np.unique(arrival_s, return_inverse=True)
    width = np.minimum(np.diff(instants, append=instants[-1] + tick_s), tick_s)
    draws = rng.random(len(arrival_s))
    in_order = draws[np.lexsort((draws, tick_index))]
    return arrival_s + in_order * width[tick_index]
