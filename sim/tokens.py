"""Every token's time, worked out after the run from batches and runs of tokens, without an object per token.

A request emits a token in each step of an unbroken run of steps of one engine. So its worst lateness against the DSLO is a maximum
over a range of steps, and the gaps between its tokens are durations of steps: both are array operations, one engine at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What the record tells of tokens.

    ``last_token_s``: time of each request's last token so far, NaN without tokens. ``worst_lateness_s``: its worst DSLO lateness,
    NaN where its class lacks a TTFT or TPOT objective or no token came. ``gaps``: per class code the inter-token gaps as a
    histogram, (geometric middles of the bins in seconds, counts).
    """

    last_token_s: Floats
    worst_lateness_s: Floats
    gaps: Mapping[int, tuple[Floats, Ints]]


class TokenTimes:
    """Unbroken runs of tokens: ``request`` emits one in each step ``first`` to ``last`` of ``engine``, from its ``token``-th on."""

    def __init__(self, journal: Journal, noises: Sequence[StepNoise], steptimes: Sequence[StepTime]) -> None:
        self._rows = journal.step_rows()
        self._noises, self._steptimes = noises, steptimes
        last = np.frombuffer(journal.run_last, np.int64)
        whole = np.flatnonzero(last >= 0)
        early = np.array(journal.broken, np.int64).reshape(-1, 4)
        self.request: Ints = np.concatenate([whole, early[:, 0]])
        self.engine: Ints = np.concatenate([np.frombuffer(journal.engine, np.int16)[whole], early[:, 1]]).astype(np.int64)
        self.first: Ints = np.concatenate([np.frombuffer(journal.run_first, np.int64)[whole], early[:, 2]])
        self.last: Ints = np.concatenate([last[whole], early[:, 3]])
        self.token: Ints = np.zeros(len(self.request), np.int64)
        self._successions: tuple[Ints, Ints] = np.zeros(0, np.int64), np.zeros(0, np.int64)
        """Runs that follow another one of their request: those before, those after."""
        if len(early):
            self._number_tokens(len(whole))

    def _number_tokens(self, whole: int) -> None:
        """Runs of a request follow each other as they were noted, maybe on several engines; its ``whole`` one comes last."""
        turn = np.concatenate([np.full(whole, len(self.request)), np.arange(len(self.request) - whole)])
        order = np.lexsort((turn, self.request))
        tokens = (self.last - self.first + 1)[order]
        ahead = np.cumsum(tokens) - tokens
        head = np.diff(self.request[order], prepend=-1) != 0
        self.token[order] = ahead - ahead[np.maximum.accumulate(np.where(head, np.arange(len(order)), 0))]
        follows = np.flatnonzero(~head)
        self._successions = order[follows - 1], order[follows]

    def facts(self, klass: Ints, classes: Sequence[RequestClass], arrival_s: Floats) -> TokenFacts:
        """``klass``, ``arrival_s``: per request."""
        last_token, worst = np.full(len(klass), np.nan), np.full(len(klass), np.nan)
        histograms: list[dict[int, int]] = [{} for _ in classes]
        edges = np.empty((len(self.request), 2))  # times of each run's first and last token
        run_class = klass[self.request]
        order = np.argsort(self.engine, kind="stable")
        cuts = np.searchsorted(self.engine[order], np.arange(len(self._noises) + 1))
        for engine, (noise, steptime) in enumerate(zip(self._noises, self._steptimes, strict=True)):
            ends = step_ends(self._rows[self._rows["engine"] == engine], noise, steptime)
            mine = order[cuts[engine] : cuts[engine + 1]]
            edges[mine, 0], edges[mine, 1] = ends[self.first[mine]], ends[self.last[mine]]
            np.fmax.at(last_token, self.request[mine], edges[mine, 1])
            bins = _bins(np.diff(ends, prepend=0.0))
            for code, entry in enumerate(classes):
                runs = mine[run_class[mine] == code]
                if not len(runs):
                    continue
                self._tally_gaps(histograms[code], bins, runs)
                if entry.slo.ttft_s is not None and entry.slo.tpot_s is not None:
                    self._lateness(worst, ends, runs, arrival_s + entry.slo.ttft_s, entry.slo.tpot_s)
        before, after = self._successions
        between = _bins(edges[after, 0] - edges[before, 1])
        for code in np.unique(run_class[after]).tolist():
            own = between[run_class[after] == code]
            _tally(histograms[code], int(own.min()), np.bincount(own - own.min()))
        return TokenFacts(last_token, worst, {code: _histogram(tally) for code, tally in enumerate(histograms)})

    def _lateness(self, worst: Floats, ends: Floats, runs: Ints, due: Floats, tpot: float) -> None:
        """Raises ``worst`` to that of the runs. Token i of a run, in step first + i, is due at ``due`` + (token + i) × tpot."""
        runs = runs[np.argsort(self.first[runs], kind="stable")]
        first, last, request = self.first[runs], self.last[runs], self.request[runs]
        slack = np.append(ends - tpot * np.arange(len(ends)), -np.inf)
        peak = np.maximum.reduceat(slack, np.stack([first, last + 1], axis=1).ravel())[::2]
        np.fmax.at(worst, request, peak + tpot * (first - self.token[runs]) - due[request])

    def _tally_gaps(self, histogram: dict[int, int], bins: Ints, runs: Ints) -> None:
        """Adds the gaps within the runs: each step but a run's first ends a gap as long as the step."""
        size = len(bins) + 1
        change = np.bincount(self.first[runs] + 1, minlength=size) - np.bincount(self.last[runs] + 1, minlength=size)
        low = int(bins.min())
        _tally(histogram, low, np.bincount(bins - low, weights=np.cumsum(change)[:-1]))


def step_ends(rows: np.ndarray, noise: StepNoise, steptime: StepTime) -> Floats:
    """End time of every step of one engine, from its batches in order."""
    ends = np.empty(int(rows["steps"].sum(dtype=np.int64)))
    fixed, slope = np.asarray(steptime.decode_fixed), np.asarray(steptime.decode_per_context)
    for low in range(0, len(rows), CHUNK):
        part = rows[low : low + CHUNK]
        steps = part["steps"].astype(np.int64)
        first = np.cumsum(steps) - steps
        here = part["step"][0]
        total = int(steps.sum())
        within = np.arange(total) - np.repeat(first, steps)
        seqs = np.repeat(part["decode_seqs"], steps)
        duration = fixed[seqs] + slope[seqs] * (np.repeat(part["decode_context"], steps) + seqs * within)
        if noise.sigma:
            chunks = range(here // CHUNK, (here + total - 1) // CHUNK + 1)
            factors = np.concatenate([np.diff(noise.sums(chunk)[0]) for chunk in chunks])
            duration *= factors[here % CHUNK : here % CHUNK + total]
        elapsed = np.cumsum(duration)
        before = (elapsed - duration)[first]
        span = ends[here : here + total]
        span[:] = elapsed + np.repeat(part["start_s"] - before, steps)
        span[first + steps - 1] = part["end_s"]
    return ends


def _bins(gaps: Floats) -> Ints:
    return np.asarray(np.floor(np.log(np.maximum(gaps, 1e-12)) / BIN), np.int64)


def _tally(histogram: dict[int, int], low: int, counts: NDArray[Any]) -> None:
    for index in np.flatnonzero(counts).tolist():
        histogram[low + index] = histogram.get(low + index, 0) + int(counts[index])


def _histogram(tally: Mapping[int, int]) -> tuple[Floats, Ints]:
    keys = np.array(sorted(tally), np.int64)
    return np.exp((keys + 0.5) * BIN), np.array([tally[key] for key in keys.tolist()], np.int64)
