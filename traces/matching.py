"""Requests of two runs matched one to one, and every statistic of both arms taken over them.

A request of arm A and one of arm B are the same request if they are the i-th of the same class; then their prompts agree, or the
arms cannot be paired. A request that exists, or has a latency, in one arm only (shed, unfinished, a closed loop that got further)
counts in that arm's statistic alone. Rates count events in slices of the measured window, and are paired where both arms have the
same window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from traces.errors import InputError
from traces.intervals import Floats
from traces.metrics import Run
from traces.paired import Contrast, Linear, Mask, contrast, quantile_contrast, ratio
from traces.record import Record
from traces.tables import codes, floats
from traces.usage import usage

ALL = "all"
LATENCIES = ("ttft_s", "tpot_s", "e2e_s", "queue_s")
QUANTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_APART = 64


class _Arm:
    """One run's columns in rows that both arms share: row i is the same request in both. ``there``: requests that this arm has."""

    def __init__(self, record: Record, place: NDArray[np.int64], rows: int) -> None:
        self.run = Run(record, "auto")
        self._place, self._rows = place, rows
        self.there = self.spread(np.ones(len(place), bool))
        self.measured = self.spread(self.run.measured)
        self.judged, self.met, self.admitted = (self.spread(getattr(self.run.verdicts, m)) for m in ("judged", "met", "admitted"))
        self.tier = self.spread(np.array(self.run.tier_names, object)[self.run.tier])
        self.latency = {name: self.spread(self.run.latency[name], np.nan) for name in LATENCIES}

    def spread(self, column: NDArray[Any], absent: Any = None) -> NDArray[Any]:
        """The column with a row for every request of either arm."""
        out = np.full(self._rows, absent, column.dtype) if absent is not None else np.zeros(self._rows, column.dtype)
        out[self._place] = column
        return out

    def tokens(self, name: str) -> Floats:
        return self.spread(self.run.tokens[name])


class Matched:
    """Two runs of one seed whose requests have been matched.

    Raises:
        InputError: they do not serve the same requests.
    """

    def __init__(self, a: Record, b: Record, names: tuple[str, str]) -> None:
        self._records, self._names = (a, b), names
        classes = sorted({name for record in (a, b) for name in codes(record.requests, "class")[1]})
        keys = [_keys(record.requests, classes) for record in (a, b)]
        union = np.unique(np.concatenate(keys))
        places = [np.searchsorted(union, key) for key in keys]
        _check_same_requests(a, b, names, keys, classes)
        arrivals = np.full((2, len(union)), np.nan)
        for row, record, place in zip(arrivals, (a, b), places, strict=True):
            row[place] = floats(record.requests, "arrival_s")
        order = np.argsort(np.where(np.isnan(arrivals[0]), arrivals[1], arrivals[0]), kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        self._arms = [_Arm(record, rank[place], len(union)) for record, place in zip((a, b), places, strict=True)]
        self._arrivals = arrivals[:, order]
        self._one_sided = [classes[i] for i in range(len(classes)) if any((key >> 32 != i).all() for key in keys)]
        self.identical = a.requests.equals(b.requests)
        self._same_window = a.window_s == b.window_s

    def groups(self) -> Iterator[tuple[str, str | None]]:
        """Name, and the tier that it stands for: those in both arms, unless there is but one."""
        yield ALL, None
        a, b = (set(arm.run.tier_names) for arm in self._arms)
        if len(a | b) > 1:
            yield from ((tier, tier) for tier in sorted(a & b))

    def contrasts(self, tier: str | None) -> Iterator[tuple[str, Contrast | None]]:
        """Metric → its difference; ``None`` where an arm does not know it."""
        a, b = self._arms
        rows = [arm.measured & (arm.tier == tier) if tier else arm.measured for arm in (a, b)]
        yield from self._shares(rows)
        yield from self._rates(rows, tier)
        for name in LATENCIES:
            values = [arm.latency[name] for arm in (a, b)]
            known = [mask & ~np.isnan(y) for mask, y in zip(rows, values, strict=True)]
            filled = [np.where(mask, y, 0.0) for mask, y in zip(known, values, strict=True)]
            linear = [ratio(y, mask.astype(float)) for y, mask in zip(filled, known, strict=True)]
            yield f"{name}.mean", self._requests(linear, known)
            for statistic, p in QUANTILES.items():
                yield f"{name}.{statistic}", quantile_contrast(filled[0], known[0], filled[1], known[1], p)

    def _shares(self, rows: Sequence[Mask]) -> Iterator[tuple[str, Contrast | None]]:
        offered = [mask & arm.judged for mask, arm in zip(rows, self._arms, strict=True)]
        admitted = [mask & arm.admitted for mask, arm in zip(offered, self._arms, strict=True)]
        for name, judged in (("attainment", offered), ("attainment_admitted", admitted)):
            linear = [
                ratio((mask & arm.met).astype(float), mask.astype(float), self._event(1 / (mask.sum() + 2)))
                for mask, arm in zip(judged, self._arms, strict=True)
            ]
            yield name, self._requests(linear, judged)
        scheduled = [mask & ~np.isnan(arm.latency["queue_s"]) for mask, arm in zip(rows, self._arms, strict=True)]
        linear = [
            ratio(arm.tokens("cached_tokens") * mask, arm.tokens("prompt_tokens") * mask)
            for mask, arm in zip(scheduled, self._arms, strict=True)
        ]
        if any(one is not None and one.value for one in linear):
            yield "prefix_hit", self._requests(linear, scheduled)

    def _rates(self, rows: Sequence[Mask], tier: str | None) -> Iterator[tuple[str, Contrast | None]]:
        per_arm = [dict(self._slices(i, rows[i], tier)) for i in (0, 1)]
        n = min(int(mask.sum()) for mask in rows)
        for name, one in per_arm[0].items():
            other = per_arm[1].get(name)
            if one is not None and other is not None:
                yield name, contrast(one, other, n, paired=self._same_window)

    def _slices(self, i: int, rows: Mask, tier: str | None) -> Iterator[tuple[str, Linear | None]]:
        arm, record = self._arms[i], self._records[i]
        run, slices = arm.run, arm.run.slices
        if slices is None:
            return
        widths = slices.widths_s
        met = rows & arm.met
        if (rows & arm.judged).any():
            slots, tokens = slices.positions(self._arrivals[i][met]), arm.tokens("output_tokens")[met]
            mean_tokens = float(tokens.mean()) if len(tokens) else 0.0
            yield "goodput_req_s", ratio(slices.happened(slots), widths, self._event(1 / slices.seconds))
            yield "goodput_tok_s", ratio(slices.happened(slots, tokens), widths, self._event(mean_tokens / slices.seconds))
        everyone = np.ones(len(run.arrival), bool) if tier is None else run.tier == run.tier_names.index(tier)
        begun = everyone & ~np.isnan(run.first)
        emitted = run.emitted(begun)
        yield "throughput_tok_s", ratio(emitted, widths)
        if tier is not None:
            return
        use = usage(record.fleet, record.steps, record.manifest, slices)
        gpu = ratio(use.gpu_s, widths)
        yield "gpu_s", None if gpu is None else Linear(gpu.value * slices.seconds, gpu.influence * slices.seconds)
        if record.steps.num_rows:
            yield "busy", ratio(use.busy_s, use.serving_s)
        if use.usd is not None:
            yield "usd_per_mtok", ratio(use.usd, emitted / 1e6)

    def _event(self, size: float) -> float:
        return 0.0 if self.identical else float(size)

    def _requests(self, linear: Sequence[Linear | None], rows: Sequence[Mask]) -> Contrast | None:
        a, b = linear
        return None if a is None or b is None else contrast(a, b, min(int(mask.sum()) for mask in rows))

    def apart(self) -> tuple[list[tuple[int, float]], float]:
        """The first requests that were not served by the same engine, as (id in arm A, the later of the two arrivals); and how many
        are there, as a share of those in both arms.
        """
        a, b = self._arms
        on = []
        for arm, record in zip((a, b), self._records, strict=True):
            code, names = codes(record.requests, "engine")
            on.append(arm.spread(np.array([*names, ""], object)[code]))
        both = a.there & b.there
        rows = np.flatnonzero(both & (on[0] != on[1]))
        ids = a.spread(self._records[0].requests.column("id").to_numpy())
        first = [(int(ids[row]), float(self._arrivals[:, row].max())) for row in rows[:_APART].tolist()]
        return first, len(rows) / int(both.sum())

    def notes(self) -> Iterator[str]:
        """What a reader must know of how the arms were paired."""
        a, b = self._records
        both = self._arms[0].there & self._arms[1].there
        if self._one_sided:
            yield f"class {', '.join(self._one_sided)} is served in one arm only"
        if not np.array_equal(self._arrivals[0][both], self._arrivals[1][both]):
            yield "requests arrive at other times in B than in A, and are paired by what they are, not by when they come"
        if not self._same_window:
            yield "the arms have other measured windows: rates are compared without pairing"
        for arm, name in zip(self._arms, self._names, strict=True):
            if not self._one_sided and (arm.there & ~both).any():
                yield f"some requests came in {name} only, and count there"
        for what in ("code", "fingerprint"):
            if a.manifest["hashes"].get(what) != b.manifest["hashes"].get(what):
                yield f"the arms ran with different {what}{'' if what == 'code' else 's'}"


def _keys(requests: pa.Table, classes: Sequence[str]) -> NDArray[np.int64]:
    """One number per request: its class and its rank within it."""
    code, names = codes(requests, "class")
    of_class = np.array([classes.index(name) for name in names], np.int64)[code]
    order = np.lexsort((requests.column("id").to_numpy(), of_class))
    rank = np.empty(len(order), np.int64)
    first = np.searchsorted(of_class[order], of_class[order])
    rank[order] = np.arange(len(order)) - first
    return (of_class << 32) | rank


def _check_same_requests(
    a: Record, b: Record, names: tuple[str, str], keys: Sequence[NDArray[np.int64]], classes: Sequence[str]
) -> None:
    where = f"{names[0]} and {names[1]}"
    common, in_a, in_b = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    if not len(common):
        raise InputError(f"{where}: have no class of requests in common; give both arms the same workload")
    differ = np.zeros(len(common), bool)
    for name in ("prompt_tokens", "output_tokens"):
        one, other = floats(a.requests, name)[in_a], floats(b.requests, name)[in_b]
        differ |= (one != other) & (_completed(a)[in_a] & _completed(b)[in_b] if name == "output_tokens" else True)
    if differ.any():
        i = int(np.argmax(differ))
        mine, theirs = (
            "{:g} + {:g} tokens".format(*(floats(r.requests, c)[rows[i]] for c in ("prompt_tokens", "output_tokens")))
            for r, rows in ((a, in_a), (b, in_b))
        )
        rank, klass = int(common[i]) & 0xFFFFFFFF, classes[int(common[i]) >> 32]
        raise InputError(
            f"{where}: do not serve the same requests (with seeds {a.manifest['seed']} and {b.manifest['seed']}, request {rank} of "
            f"class {klass} is {mine} in one arm and {theirs} in the other), so they cannot be paired; give both the same workload"
        )


def _completed(record: Record) -> Mask:
    code, names = codes(record.requests, "outcome")
    completed: Mask = code == (names.index("completed") if "completed" in names else -2)
    return completed
