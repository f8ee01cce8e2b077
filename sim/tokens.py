"""Every token's time, worked out after the run from batches and runs of tokens, without an object per token.

A request emits a token in each step of an unbroken run of steps of one engine. So its worst lateness against the DSLO is a maximum
over a range of steps, and the gaps between its tokens are durations of steps: both are array operations per engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.journal import Journal
from sim.noise import CHUNK, StepNoise
from sim.steptime import StepTime
from traces.workload import RequestClass

BIN = float(np.log(1.005))
"""Width of a gap bin on the natural-log scale: 0.5 %."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class TokenTimes:
    """End times of all steps, per engine, and the runs of tokens that refer to them."""

    def __init__(self, journal: Journal, noises: Sequence[StepNoise], steptimes: Sequence[StepTime]) -> None:
        rows = journal.step_rows()
        engines = rows["engine"]
        order = np.argsort(engines, kind="stable")
        cuts = np.searchsorted(engines[order], np.arange(len(noises) + 1))
        self.ends: list[Floats] = [
            step_ends(rows[order[cuts[i] : cuts[i + 1]]], noises[i], steptimes[i]) for i in range(len(noises))
        ]
        last = np.frombuffer(journal.run_last, np.int64)
        whole = np.flatnonzero(last >= 0)
        early = np.array(journal.broken, np.int64).reshape(-1, 4)
        self.request: Ints = np.concatenate([whole, early[:, 0]])
        self.engine: Ints = np.concatenate([np.frombuffer(journal.engine, np.int16)[whole], early[:, 1]]).astype(np.int64)
        self.first: Ints = np.concatenate([np.frombuffer(journal.run_first, np.int64)[whole], early[:, 2]])
        self.last: Ints = np.concatenate([last[whole], early[:, 3]])
        order = self._by_request = np.lexsort((self.first, self.request))
        tokens = (self.last - self.first + 1)[order]
        ahead = np.cumsum(tokens) - tokens
        head = np.diff(self.request[order], prepend=-1) != 0
        ahead -= ahead[np.maximum.accumulate(np.where(head, np.arange(len(order)), 0))]
        self.token: Ints = np.empty_like(ahead)
        """Index, within its request, of the run's first token."""
        self.token[order] = ahead

    def last_token_s(self, requests: int) -> Floats:
        """Time of each request's last token so far; NaN without tokens."""
        times = np.full(requests, np.nan)
        for engine, ends in enumerate(self.ends):
            mine = np.flatnonzero(self.engine == engine)
            np.fmax.at(times, self.request[mine], ends[self.last[mine]])
        return times

    def worst_lateness(self, klass: Ints, classes: Sequence[RequestClass], arrival_s: Floats) -> Floats:
        """Worst DSLO lateness per request, in seconds; NaN where the class lacks a TTFT or TPOT objective or no token came."""
        worst = np.full(len(klass), np.nan)
        run_class = klass[self.request]
        for code, entry in enumerate(classes):
            ttft, tpot = entry.slo.ttft_s, entry.slo.tpot_s
            if ttft is None or tpot is None:
                continue
            for engine, ends in enumerate(self.ends):
                mine = np.flatnonzero((run_class == code) & (self.engine == engine))
                if not len(mine):
                    continue
                mine = mine[np.argsort(self.first[mine], kind="stable")]
                first, last, request = self.first[mine], self.last[mine], self.request[mine]
                # token i of the run, emitted in step first + i, is due at arrival + ttft + (token + i) * tpot
                slack = ends - tpot * np.arange(len(ends))
                bounds = np.minimum(np.stack([first, last + 1], axis=1).ravel(), len(slack))
                peak = np.maximum.reduceat(np.append(slack, -np.inf), bounds)[::2]
                np.fmax.at(worst, request, peak + tpot * (first - self.token[mine]) - ttft - arrival_s[request])
        return worst

    def gaps(self, klass: Ints, classes: int) -> Mapping[int, tuple[Floats, Ints]]:
        """Per class code, the inter-token gaps as a histogram: (geometric middles of the bins in seconds, counts)."""
        run_class = klass[self.request]
        histograms: list[dict[int, int]] = [{} for _ in range(classes)]
        for engine, ends in enumerate(self.ends):
            bins = _bins(np.diff(ends, prepend=0.0))
            low = int(bins.min()) if len(bins) else 0
            for code in range(classes):
                mine = (run_class == code) & (self.engine == engine)
                if not mine.any():
                    continue
                size = len(ends) + 1
                change = np.bincount(self.first[mine] + 1, minlength=size) - np.bincount(self.last[mine] + 1, minlength=size)
                tokens = np.cumsum(change)[:-1]
                _tally(histograms[code], low, np.bincount(bins - low, weights=tokens))
        order = self._by_request
        follows = np.flatnonzero(np.diff(self.request[order]) == 0) if len(order) else order
        for before, after in zip(order[follows], order[follows + 1], strict=True):  # across an interruption; rare
            gap = self.ends[self.engine[after]][self.first[after]] - self.ends[self.engine[before]][self.last[before]]
            _tally(histograms[run_class[after]], int(_bins(np.array([gap]))[0]), np.ones(1))
        result = {}
        for code, histogram in enumerate(histograms):
            keys = np.array(sorted(histogram), np.int64)
            result[code] = (np.exp((keys + 0.5) * BIN), np.array([histogram[k] for k in keys.tolist()], np.int64))
        return result


def step_ends(rows: np.ndarray, noise: StepNoise, steptime: StepTime) -> Floats:
    """End time of every step of one engine, from its batches in order."""
    if not len(rows):
        return np.empty(0)
    steps = rows["steps"].astype(np.int64)
    first = np.repeat(np.cumsum(steps) - steps, steps)
    total = int(steps.sum())
    offset = np.arange(total) - first
    seqs = np.repeat(rows["decode_seqs"], steps)
    fixed = np.asarray(steptime.decode_fixed)[seqs]
    slope = np.asarray(steptime.decode_per_context)[seqs]
    duration = fixed + slope * (np.repeat(rows["decode_context"], steps) + seqs * offset)
    if noise.sigma:
        chunks = [np.diff(noise.sums(chunk)[0]) for chunk in range(-(-total // CHUNK))]
        duration *= np.concatenate(chunks)[:total]
    elapsed = np.cumsum(duration)
    ends = np.repeat(rows["start_s"], steps) + (elapsed - (elapsed - duration)[first])
    final = np.cumsum(steps) - 1
    ends[final] = rows["end_s"]
    return np.asarray(ends, np.float64)


def _bins(gaps: Floats) -> Ints:
    return np.asarray(np.floor(np.log(np.maximum(gaps, 1e-12)) / BIN), np.int64)


def _tally(histogram: dict[int, int], low: int, counts: NDArray[Any]) -> None:
    for index in np.flatnonzero(counts).tolist():
        histogram[low + index] = histogram.get(low + index, 0) + int(counts[index])
