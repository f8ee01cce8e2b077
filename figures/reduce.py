"""From a record of any size to the few hundred numbers that a chart can show. NumPy only, no loop over requests or steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from figures.svg import nice_step
from traces.slices import Floats, Slices
from traces.tables import codes, floats
from traces.usage import own_time

MOST_BINS = 300
_QUANTILES = np.unique(np.concatenate([np.linspace(0, 1, 161), [0.0025, 0.992, 0.995, 0.997, 0.999, 0.9995, 0.9999]]))


@dataclass(frozen=True, slots=True)
class Distribution:
    """A cumulative curve: ``share`` of all ``offered`` requests whose value is at most ``value``; below 1 if some have none."""

    value: Floats
    share: Floats
    ordered: Floats
    offered: int

    def within(self, limit: float) -> float:
        """Exact share of the offered requests whose value is at most ``limit``."""
        return float(np.searchsorted(self.ordered, limit, side="right")) / self.offered if self.offered else math.nan

    def quantile(self, q: float) -> float:
        """The q-quantile of the values that exist; NaN without any."""
        return float(np.quantile(self.ordered, q)) if len(self.ordered) else math.nan


def distribution(values: Floats, offered: int) -> Distribution:
    """The curve through at most 170 quantiles, closer together in the tail. ``values``: NaN where a request has none."""
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return Distribution(ordered, ordered, ordered, offered)
    rank = np.unique(np.ceil(_QUANTILES * len(ordered)).astype(np.int64).clip(1))
    return Distribution(ordered[rank - 1], rank / offered, ordered, offered)


def timeline(end_s: float, most: int = MOST_BINS) -> tuple[Slices, Floats]:
    """At most ``most`` equal bins of a round width (1, 2 or 5 × 10ⁿ s) that cover [0, ``end_s``], and their edges."""
    span = max(end_s, 1e-6)
    width = nice_step(span / most)
    bins = max(1, math.ceil(span / width - 1e-9))
    return Slices(0.0, bins * width, bins), np.linspace(0.0, bins * width, bins + 1)


def per_second(times_s: Floats, slices: Slices) -> Floats:
    """Events per second in each bin; NaN = never."""
    return slices.happened(slices.positions(times_s)) / slices.widths_s


def under_way(start_s: Floats, end_s: Floats, slices: Slices) -> Floats:
    """Mean number of the spans [start, end) under way in each bin, such as requests that wait."""
    return np.maximum(slices.flowed(start_s, end_s, np.ones(len(start_s))), 0.0) / slices.widths_s


def most_under_way(start_s: Floats, end_s: Floats) -> int:
    """The largest number of the spans [start, end) under way at once."""
    if not len(start_s):
        return 0
    moments = np.concatenate([end_s, start_s])
    change = np.repeat([-1, 1], len(start_s))
    return int(np.cumsum(change[np.argsort(moments, kind="stable")]).max())  # stable: at equal times an end comes first


@dataclass(frozen=True, slots=True)
class EngineTime:
    """What the steps say of each engine, as exact integrals over bins: share of time busy, KV tokens in use; (engines, bins)."""

    busy: Floats
    kv_tokens: Floats
    kv_peak: Floats


def engine_time(steps: pa.Table, engines: Sequence[str], slices: Slices) -> EngineTime:
    """Busy share and KV tokens of ``engines`` over time. Between steps an engine holds no request, hence no KV in use."""
    code, names = codes(steps, "engine")
    rows = np.argsort(code.astype(np.int16) if len(names) < 2**15 else code, kind="stable")
    bounds = np.searchsorted(code[rows], np.arange(len(names) + 1))
    (start, end), kv = own_time(steps), floats(steps, "kv_tokens_used")[rows]
    start, end = start[rows], end[rows]
    busy, used, peak = np.zeros((len(engines), slices.count)), np.zeros((len(engines), slices.count)), np.zeros(len(engines))
    for row, engine in enumerate(engines):
        if engine not in names:
            continue
        mine = slice(*bounds[names.index(engine) :][:2])
        begin, until = start[mine], end[mine]
        busy[row] = slices.flowed(begin, until, np.ones(len(begin))) / slices.widths_s
        used[row] = np.maximum(slices.flowed(begin, until, kv[mine]), 0.0) / slices.widths_s
        peak[row] = kv[mine].max(initial=0.0)
    return EngineTime(np.clip(busy, 0.0, 1.0), used, peak)


def tally(code: NDArray[np.int32], size: int, weight: Floats | None = None) -> Floats:
    """Rows, or their summed ``weight``, per code from 0 to ``size`` − 1; rows with code −1 count nowhere."""
    return np.bincount(code + 1, weight, size + 1)[1:].astype(np.float64)


def coarser(rows: Floats, most: int) -> Floats:
    """Means over neighbouring columns, so that at most ``most`` are left; the last may stand for fewer."""
    width = math.ceil(rows.shape[1] / most)
    starts = np.arange(0, rows.shape[1], width)
    return np.add.reduceat(rows, starts, axis=1) / np.diff(starts, append=rows.shape[1])
