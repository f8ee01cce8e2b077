"""From measured points to the curves of a fingerprint: non-decreasing, padded as the engine pads, with few breakpoints."""

from __future__ import annotations

import numpy as np

from policies.curve import Curve
from traces.operators.kinds import Floats

THINNING = 0.003
"""Breakpoints are left out where a curve stays this close to the points, relatively."""
GRAPH_TOKENS = 512
"""vLLM captures CUDA graphs up to this many tokens; larger steps launch their kernels eagerly."""


def rising(y: Floats) -> Floats:
    """The non-decreasing sequence nearest to y in relative error (isotonic regression: pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value in y.tolist():
        weight = 1 / max(value, 1e-12) ** 2
        mean, count = value, 1
        while blocks and blocks[-1][0] > mean:
            before, other, size = blocks.pop()
            mean = (mean * weight + before * other) / (weight + other)
            weight, count = weight + other, count + size
        blocks.append((mean, weight, count))
    return np.repeat([b[0] for b in blocks], [b[2] for b in blocks])


def thinned(x: Floats, y: Floats) -> Curve:
    """A curve through as few of the points as keep the others within ``THINNING`` (Ramer, Douglas and Peucker, relative error)."""
    keep = {0, len(x) - 1}
    spans = [(0, len(x) - 1)]
    while spans:
        low, high = spans.pop()
        inner = np.arange(low + 1, high)
        if not len(inner):
            continue
        line = y[low] + (y[high] - y[low]) * (x[inner] - x[low]) / (x[high] - x[low])
        error = np.abs(line - y[inner]) / np.maximum(y[inner], 1e-12)
        worst = int(error.argmax())
        if error[worst] > THINNING:
            split = low + 1 + worst
            keep.add(split)
            spans += [(low, split), (split, high)]
    kept = sorted(keep)
    return Curve(tuple(x[kept].tolist()), tuple(five_digits(v) for v in y[kept].tolist()))


def captured_sizes(most: int = GRAPH_TOKENS) -> list[int]:
    """The token counts for which vLLM captures CUDA graphs (0.32, ``vllm/config/vllm.py``, ``_set_cudagraph_sizes``)."""
    return [n for n in (1, 2, 4, *range(8, 256, 8), *range(256, most + 1, 16)) if n <= most]


def padded(tokens: Floats, seconds: Floats) -> tuple[Floats, Floats]:
    """The points with those up to ``GRAPH_TOKENS`` tokens replaced by what their tokens padded to the next captured size take."""
    sizes = captured_sizes()
    ends = np.interp(sizes, tokens, seconds)
    x = [float(v) for low, high in zip([0, *sizes], sizes, strict=False) for v in {low + 1, high}]
    y = [float(s) for low, high, s in zip([0, *sizes], sizes, ends, strict=False) for _ in {low + 1, high}]
    order = np.argsort(x)
    beyond = tokens > sizes[-1]
    return np.concatenate([np.array(x)[order], tokens[beyond]]), np.concatenate([np.array(y)[order], seconds[beyond]])


def five_digits(value: float) -> float:
    """What is written to a file."""
    return float(f"{value:.5g}")
