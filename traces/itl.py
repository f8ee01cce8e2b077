"""Inter-token latency: a histogram of gaps, with intervals from the steps that made them.

gaps.parquet has forgotten when each gap was. Steps remember: a step of d seconds with k decoding requests made about k gaps of d
seconds, all at the same time. How the share of gaps below a value moves from slice to slice of the run is therefore read off
steps.parquet, for all classes alike, because they share the steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from traces.bounds import not_negative
from traces.intervals import BATCHES, QUANTILES, UNKNOWN, Estimate, histogram_quantiles, ratio_of_samples
from traces.record import Record
from traces.slices import Floats, Slices
from traces.tables import codes, floats

_BIN = 0.005
"""Relative width of the bins, as promised of gaps.parquet."""


class GapClock:
    """Gaps of a record: how many of which length (per class), and how many below a length in each slice of the run."""

    def __init__(self, record: Record) -> None:
        klass, self._names = codes(record.gaps, "class")
        self._klass = klass
        self._gap, self._count = floats(record.gaps, "gap_s"), floats(record.gaps, "count")
        steps = record.steps
        start, weight = floats(steps, "start_s"), floats(steps, "decode_tokens")
        length = floats(steps, "duration_s") / floats(steps, "steps")
        rows = (weight > 0) & (length > 0)
        end_s = float(record.manifest["end_s"])
        self._lowest, self._below = 0, np.zeros((1, BATCHES))
        if end_s <= 0 or not rows.any():
            return
        bins = np.floor(np.log(length[rows]) / _BIN).astype(np.int64)
        self._lowest = int(bins.min())
        size = int(bins.max()) - self._lowest + 1
        slots = np.clip(Slices(0.0, end_s, BATCHES).positions(start[rows]), 1, BATCHES) - 1
        cells = np.bincount((bins - self._lowest) * BATCHES + slots, weight[rows], size * BATCHES)
        self._below = np.cumsum(cells.reshape(size, BATCHES), axis=0)

    def estimates(self, class_names: set[str], gaps: Floats, spent_s: Floats) -> Iterator[tuple[str, Estimate]]:
        """Mean and quantiles of some classes' gaps. ``gaps``, ``spent_s``: per request in arrival order, how many and their sum."""
        wanted = np.array([name in class_names for name in self._names], bool)
        rows = np.flatnonzero(wanted[self._klass]) if len(wanted) else np.empty(0, np.int64)
        rows = rows[np.argsort(self._gap[rows], kind="stable")]
        values, counts = self._gap[rows], self._count[rows]
        if not len(rows):
            yield from ((f"itl_s.{name}", UNKNOWN) for name in ("mean", *QUANTILES))
            return
        n = int(counts.sum())
        some = gaps > 0
        yield "itl_s.mean", not_negative(ratio_of_samples(spent_s[some], gaps[some], n))
        reached = np.cumsum(counts) / n
        probabilities = list(QUANTILES.values())
        at = values[np.minimum(np.searchsorted(reached, probabilities), len(values) - 1)]
        shares = [(self._shorter(value), self._below[-1]) for value in at.tolist()]
        found = histogram_quantiles(values, counts, probabilities, shares, _BIN / 2)
        yield from zip((f"itl_s.{name}" for name in QUANTILES), found, strict=True)

    def _shorter(self, gap_s: float) -> Floats:
        """Gaps of at most ``gap_s`` in each slice of the run."""
        bin_ = math.floor(math.log(gap_s) / _BIN) - self._lowest
        return self._below[min(bin_, len(self._below) - 1)] if bin_ >= 0 else np.zeros(BATCHES)
