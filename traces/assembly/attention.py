"""Fits of one layer's attention, in the form that a fingerprint has for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policies.curve import Lines
from traces.operators.kinds import AttentionRows, Floats

SHORT = 64
"""Decode contexts below this are left out of the fits: there the launch is all, and no request stays there."""


def launch_floor(rows: AttentionRows) -> float:
    """Seconds of a call with next to nothing to do."""
    return float(np.median(rows.seconds[(rows.batch == rows.batch.min()) & (rows.context <= SHORT)]))


def fit_decode(
    rows: AttentionRows, floor: float, others: Callable[[Floats], Floats], *, least_slope: float, most_context: float
) -> tuple[Lines, Floats]:
    """One layer's decode attention above ``floor``: for each measured number of requests a line in the KV tokens; and the errors.

    Per number of requests the measured times are flat, then bandwidth-bound; a line through them is fitted for the least error
    relative to the whole layer, ``others`` (seconds by tokens) included. Larger batches use the bandwidth better, so slopes fall as
    requests grow, but never below ``least_slope`` (the data sheet's bandwidth, which keeps the continuation to longer contexts
    honest), and only as far as the fixed parts make up for it up to ``most_context`` KV tokens in all: one more request never
    makes a step faster. Written with pivots that are all non-negative, it is one non-negative least-squares problem.
    """
    from scipy.optimize import nnls

    use = rows.context >= SHORT
    batch, kv, seconds = rows.batch[use], (rows.batch * rows.context)[use], rows.seconds[use]
    sizes = np.unique(batch)
    place = np.searchsorted(sizes, batch)
    layer = seconds + others(batch)
    after = place[:, None] > np.arange(len(sizes) - 1)
    scaled = kv / most_context
    columns = [np.ones_like(kv), *after.T.astype(float), *np.where(after, 1.0, scaled[:, None]).T, scaled]
    design = np.column_stack(columns) / layer[:, None]
    solution, _ = nnls(design, (seconds - floor - least_slope * kv) / layer)
    count = len(sizes)
    first, rises, pivots, slope = solution[0], solution[1:count], solution[count : 2 * count - 1], solution[-1]
    fixed = first + np.concatenate([[0.0], np.cumsum(rises + pivots)])
    per_context = least_slope + (slope + np.concatenate([np.cumsum(pivots[::-1])[::-1], [0.0]])) / most_context
    fitted = floor + fixed[place] + per_context[place] * kv
    return Lines(tuple(sizes.tolist()), tuple(fixed.tolist()), tuple(per_context.tolist())), (fitted - seconds) / layer


def fit_prefill(rows: AttentionRows, floor: float, others: Callable[[Floats], Floats]) -> tuple[tuple[float, ...], Floats]:
    """One layer's prefill attention as floor + c0 × chunks + c1 × tokens + c2 × Σ chunk × (context + chunk / 2), and the errors.

    Without the term per token (queries, keys and values moved once) the median error is five times as large. The tables hold
    whole prompts only: that earlier context costs what the new tokens' own triangle costs per token² is the kernel's algorithm.
    """
    from scipy.optimize import nnls

    use = (rows.tokens >= 16) & (rows.batch * rows.tokens <= 32768)
    chunks, seconds = rows.batch[use], rows.seconds[use]
    tokens = chunks * rows.tokens[use]
    square = chunks * rows.tokens[use] ** 2 / 2
    layer = seconds + others(tokens)
    units = np.array([1e-6, 1e-9, 1e-12])
    design = np.column_stack([chunks, tokens, square]) * units / layer[:, None]
    solution, _ = nnls(design, (seconds - floor) / layer)
    fitted = design @ solution + floor / layer
    return tuple((solution * units).tolist()), fitted - seconds / layer


def sum_of_layers(parts: list[tuple[int, Lines]]) -> Lines:
    """All layers of one or two kinds together, rounded for a file; a kind with other numbers of requests is interpolated."""
    sizes = np.unique(np.concatenate([lines.requests for _, lines in parts]))
    fixed, slope = np.zeros(len(sizes)), np.zeros(len(sizes))
    for layers, lines in parts:
        a, b = lines.coefficients(sizes)
        fixed, slope = fixed + layers * a, slope + layers * b
    # Seven digits: with fewer, rounding would let lines cross that are meant to meet at the edge of the memory.
    return Lines(tuple(sizes.tolist()), *(tuple(float(f"{v:.7g}") for v in part.tolist()) for part in (fixed, slope)))
