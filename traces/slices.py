"""Time cut into equal slices: how much of something that happens at instants, or flows over spans, falls into each slice.

All functions are O(rows) without a loop: each row changes a piecewise linear total at its ends, and the total is read at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Slices:
    """``count`` equal slices of the window [``start_s``, ``end_s``)."""

    start_s: float
    end_s: float
    count: int

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    @property
    def widths_s(self) -> Floats:
        return np.full(self.count, self.seconds / self.count)

    def positions(self, time_s: Floats) -> Ints:
        """Slot of each instant: 0 = before the window, 1 … count = its slice, count + 1 = after it (NaN too)."""
        relative = (time_s - self.start_s) * (self.count / self.seconds)
        with np.errstate(invalid="ignore"):
            slots: Floats = np.clip(np.floor(relative) + 1, 0, self.count + 1)
        slots[np.isnan(slots)] = self.count + 1
        return slots.astype(np.int64)

    def happened(self, slots: Ints, weight: Floats | NDArray[np.bool_] | None = None) -> Floats:
        """Weight (1 without) of the events in each slice."""
        return np.bincount(slots, weight, self.count + 2)[1 : self.count + 1].astype(np.float64)

    def flowed(self, start_s: Floats, end_s: Floats, per_second: Floats) -> Floats:
        """What flowed in each slice, each row at its rate from its start to its end."""
        begin, end = self.positions(start_s), self.positions(end_s)
        a, b = start_s - self.start_s, end_s - self.start_s
        size = self.count + 2
        # At edge t the total is Σ rate·(t − a) over rows that have begun, less Σ rate·(t − b) over rows that have ended.
        slope = np.bincount(begin, per_second, size) - np.bincount(end, per_second, size)
        offset = np.bincount(end, per_second * b, size) - np.bincount(begin, per_second * a, size)
        edges = np.linspace(0.0, self.seconds, self.count + 1)
        total = np.cumsum(slope)[:-1] * edges + np.cumsum(offset)[:-1]
        return np.diff(total)
