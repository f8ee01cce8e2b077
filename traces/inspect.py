"""What a workload looks like in numbers: load, burstiness, lengths, prefix sharing. numpy only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traces.workload import Workload

PERCENT = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)
WINDOWS_S = (1.0, 10.0, 60.0)

# Fewer windows than this say nothing about a variance.
_FEWEST_WINDOWS = 8


def describe(workload: Workload) -> dict[str, Any]:
    """Statistics of a workload as plain JSON; ``None`` where there is nothing to know (one request, all at once, too short).

    ``requests``, ``duration_s`` (first to last arrival), ``rate_per_s``; ``classes``: {name: requests}.
    ``minutes``: requests of the busiest full minute and ``peak_to_mean``.
    ``gaps``: mean (s) and coefficient of variation of the times between arrivals, and the share that are 0.
    ``index_of_dispersion``: {window (s): variance / mean of the counts in such windows}; 1 for Poisson.
    ``prompt_tokens``, ``output_tokens``: mean, total and ``percentiles`` {percent: tokens}; ``spearman`` between the two.
    ``prefix``: see :func:`prefix_sharing`; ``None`` where the workload tells no prefix blocks.
    """
    arrivals = workload.arrival_s
    gaps = np.diff(arrivals)
    rate = workload.mean_rate
    busy, minutes = counts_of_busy_windows(arrivals, 60.0)
    return {
        "name": str(workload.source.get("name", "workload")),
        "requests": len(workload),
        "duration_s": workload.duration_s,
        "rate_per_s": rate if math.isfinite(rate) else None,
        "classes": _per_class(workload),
        "minutes": {
            "full": minutes,
            "peak_requests": int(busy.max()) if busy.size else None,
            "peak_to_mean": float(busy.max() * minutes / busy.sum()) if busy.size and minutes > 1 else None,
        },
        "gaps": {
            "mean_s": float(gaps.mean()) if gaps.size else None,
            "cv": _cv(gaps),
            "zero_share": float((gaps == 0).mean()) if gaps.size else None,
        },
        "index_of_dispersion": {f"{w:g}": index_of_dispersion(arrivals, w) for w in WINDOWS_S},
        "prompt_tokens": _lengths(workload.prompt_tokens),
        "output_tokens": _lengths(workload.output_tokens),
        "spearman": spearman(workload.prompt_tokens, workload.output_tokens),
        "prefix": prefix_sharing(workload),
    }


def counts_of_busy_windows(arrival_s: NDArray[np.float64], window_s: float) -> tuple[NDArray[np.int64], int]:
    """Arrivals in each full window that has any, and how many full windows there are; the cut-off last one is left out.

    Windows start at the first arrival. Empty ones are not listed: a trace may be silent for longer than memory holds windows.
    """
    since = arrival_s - arrival_s[0]
    full = int(since[-1] // window_s)
    window = np.floor(since / window_s)
    window = window[window < full]
    bounds = np.flatnonzero(np.diff(window, prepend=-1.0, append=np.inf))
    return np.diff(bounds), full


def index_of_dispersion(arrival_s: NDArray[np.float64], window_s: float) -> float | None:
    """Unbiased variance / mean of the counts per window of ``window_s`` seconds; ``None`` with fewer than 8 windows."""
    counts, windows = counts_of_busy_windows(arrival_s, window_s)
    if windows < _FEWEST_WINDOWS or not counts.size:
        return None
    mean = float(counts.sum()) / windows
    squares = float((counts.astype(np.float64) ** 2).sum())
    return (squares - windows * mean**2) / (windows - 1) / mean


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Spearman's rank correlation, ties at their average rank; ``None`` where one side does not vary."""
    a, b = _ranks(np.asarray(x)), _ranks(np.asarray(y))
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / spread if spread > 0 else None


def prefix_hits(workload: Workload) -> NDArray[np.int64]:
    """Leading blocks of each request that an earlier request had: its hits in a prefix cache that never evicts."""
    offsets, ids = workload.block_offsets, workload.block_ids
    n = len(workload)
    if offsets is None or ids is None or not len(ids):
        return np.zeros(n, np.int64)
    _, first, which = np.unique(ids, return_index=True, return_inverse=True)
    counts = np.diff(offsets)
    owner_start = np.repeat(offsets[:-1], counts)
    missed = np.flatnonzero(first[which] >= owner_start)  # positions whose content nobody brought before
    # A request's run of hits ends at its first miss, or at its end.
    at = np.searchsorted(missed, offsets[:-1])
    first_miss = np.append(missed, len(ids))[at]
    return np.asarray(np.minimum(first_miss, offsets[1:]) - offsets[:-1])


def prefix_sharing(workload: Workload) -> dict[str, Any] | None:
    """How much prompts share, with an endless cache: ``None`` where the workload tells no blocks.

    ``block_hit_fraction``: hits / blocks. ``request_hit_fraction``: {percent: share of a request's blocks}.
    ``top_block_requests``: requests that bring the commonest block, and ``top_block_share`` of all requests.
    ``blocks``, ``distinct_blocks``, ``used_once_fraction`` of the distinct ones, ``block_tokens``.
    """
    if workload.block_offsets is None or workload.block_ids is None or not len(workload.block_ids):
        return None
    blocks = np.diff(workload.block_offsets)
    hits, with_blocks = prefix_hits(workload), blocks > 0
    uses = np.unique(workload.block_ids, return_counts=True)[1]
    return {
        "block_tokens": workload.block_tokens,
        "blocks": int(blocks.sum()),
        "distinct_blocks": len(uses),
        "used_once_fraction": float((uses == 1).mean()),
        "block_hit_fraction": float(hits.sum() / blocks.sum()),
        "request_hit_fraction": _percentiles(hits[with_blocks] / blocks[with_blocks]),
        "top_block_requests": int(uses.max()),
        "top_block_share": float(uses.max() / len(workload)),
    }


def _per_class(workload: Workload) -> dict[str, int]:
    counts = np.bincount(workload.klass, minlength=len(workload.classes))
    return {c.name: int(k) for c, k in zip(workload.classes, counts, strict=True)}


def _lengths(tokens: NDArray[np.int32]) -> dict[str, Any]:
    return {"mean": float(tokens.mean()), "total": int(tokens.sum(dtype=np.int64)), "percentiles": _percentiles(tokens)}


def _percentiles(values: ArrayLike) -> dict[str, float]:
    return {f"{p:g}": float(q) for p, q in zip(PERCENT, np.percentile(np.asarray(values), PERCENT), strict=True)}


def _cv(gaps: NDArray[np.float64]) -> float | None:
    return float(gaps.std() / gaps.mean()) if gaps.size > 1 and gaps.mean() > 0 else None


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return ranks
