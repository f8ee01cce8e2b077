"""From the times of many steps to the terms of a fingerprint, and to what is left over: noise, errors, stalls.

Every term counts something of a step's shape, so that its time is a sum of products; what multiplies each is found by non-negative
least squares in relative terms. Where engines with fewer layers than the model were measured, every term is a line in the number of
layers: both ends of all lines are found together, from all steps, so that the little that a layer takes is not the difference of
two noisy numbers.

Prefills, decodes and mixtures weigh the same together, however many steps there are of each: there are many more decodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from policies.curve import Curve, Lines
from policies.fingerprint import NOISE_LEVELS, NOTHING, Terms
from policies.latency import StepShape

Floats = NDArray[np.float64]

_TOKEN_KNOTS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_DECODE_KNOTS = (1, 8, 32, 128, 512)
_FEWEST = 5
"""Steps that a knot of a curve stands on."""
_ITERATIONS = 4
_STALL = 5.0
"""Steps that take so many times the expected are the machine's doing, not the engine's, and are left out."""


@dataclass(frozen=True, slots=True)
class Steps:
    """``shapes``: a row per step, columns as in ``StepShape``. ``seconds`` of each step, ``layers`` of the engine that took it."""

    shapes: Floats
    seconds: Floats
    layers: Floats

    def column(self, name: str) -> Floats:
        found: Floats = self.shapes[:, StepShape._fields.index(name)]
        return found

    @property
    def tokens(self) -> Floats:
        return self.column("prefill_tokens") + self.column("decode_seqs") + self.column("verify_tokens")

    @property
    def kinds(self) -> dict[str, NDArray[np.bool_]]:
        """Which steps prefill, which decode, and which do both."""
        prefill, decode = self.column("prefill_tokens") > 0, self.column("decode_seqs") > 0
        found = {"decode": ~prefill, "prefill": prefill & ~decode, "mixed": prefill & decode}
        return {name: rows for name, rows in found.items() if rows.any()}


@dataclass(frozen=True, slots=True)
class Fit:
    """``ratio``: of each step its time over the mean that the terms give, NaN where it stalled."""

    terms: Terms
    ratio: Floats
    kinds: Mapping[str, NDArray[np.bool_]]
    seconds: Floats

    @property
    def stalls(self) -> str:
        """What was left out, in words."""
        out = np.isnan(self.ratio)
        return f"{out.sum()} stalls of the machine left out, {self.seconds[out].sum() / self.seconds.sum():.0%} of the time"

    @property
    def residual(self) -> float:
        """Relative standard deviation around the mean."""
        return float(np.nanstd(self.ratio))

    @property
    def noise(self) -> tuple[float, ...]:
        """The distribution of step times around their mean, at ``NOISE_LEVELS``; its top is such that the mean is 1."""
        levels = np.asarray(NOISE_LEVELS)
        values = np.quantile(self.ratio[~np.isnan(self.ratio)], levels)
        values = np.maximum(values / (((values[1:] + values[:-1]) / 2) * np.diff(levels)).sum(), 1e-6)
        return tuple(values.tolist())

    @property
    def errors(self) -> dict[str, tuple[float, float, int]]:
        """Of the mean against each kind of steps: median and 90th percentile of |relative error|, and how many steps."""
        found = {}
        for kind, rows in self.kinds.items():
            off = np.abs(1 / self.ratio[rows & ~np.isnan(self.ratio)] - 1)
            if len(off):
                found[kind] = (float(np.median(off)), float(np.quantile(off, 0.9)), len(off))
        return found


def fit_steps(steps: Steps, layers: int) -> Fit:
    """The terms of an engine with ``layers`` layers, which is the one that was measured, or follows from two or more others."""
    counts = np.unique(steps.layers)
    model = _Model.of(steps)
    features = model.features(steps)
    here = features
    if len(counts) > 1:
        here = np.hstack([features, features * steps.layers[:, None]])
    weights, ratio = _nonnegative(here, steps.seconds, steps.kinds)
    if len(counts) > 1:
        fixed, each = np.split(weights, 2)
        weights = fixed + layers * each
    return Fit(model.terms(weights), ratio, steps.kinds, steps.seconds)


@dataclass(frozen=True, slots=True)
class _Model:
    """Where curves bend. ``tokens``: of a step; ``decodes``: numbers of decoding requests.

    What a step pays for any prefill at all has no term of its own. It is found as a rise in the tokens, right above the largest
    number that a step of decodes has: without it, large batches of decodes would be taken to pay for it too.
    """

    tokens: Sequence[float]
    decodes: Sequence[float]

    @classmethod
    def of(cls, steps: Steps) -> _Model:
        seqs, tokens = steps.column("decode_seqs"), _knots(steps.tokens, _TOKEN_KNOTS)
        if 1.0 < (most := float(seqs.max())) < tokens[-1] - 1:
            tokens = sorted({*tokens, most, most + 1})
        return cls(tokens, _knots(seqs[seqs > 0], _DECODE_KNOTS))

    def features(self, steps: Steps) -> Floats:
        tokens, seqs, context = steps.tokens, steps.column("decode_seqs"), steps.column("decode_context")
        rises = [np.clip(tokens - low, 0.0, high - low) for low, high in pairwise(self.tokens)]
        hats = np.eye(len(self.decodes))
        reads = [context * np.interp(seqs, self.decodes, hat) for hat in hats]
        chunks, attention = steps.column("prefill_seqs"), steps.column("prefill_attention")
        return np.column_stack([np.ones(len(tokens)), chunks, steps.column("prefill_tokens"), attention, seqs, *rises, *reads])

    def terms(self, weights: Floats) -> Terms:
        overhead, per_chunk, per_token, per_attention, per_seq, *rest = weights.tolist()
        slopes, reads = rest[: len(self.tokens) - 1], rest[len(self.tokens) - 1 :]
        rises = np.cumsum([0.0, *(slope * (high - low) for slope, (low, high) in zip(slopes, pairwise(self.tokens), strict=True))])
        return Terms(
            overhead=overhead,
            gemm=Curve(tuple(self.tokens), tuple(rises.tolist())),
            sampled=NOTHING,
            prefill_chunk=per_chunk,
            prefill_token=per_token,
            prefill_attention=per_attention,
            decode=Lines(tuple(self.decodes), tuple(per_seq * n for n in self.decodes), tuple(reads)),
        )


def _knots(seen: Floats, candidates: Sequence[int]) -> list[float]:
    """From 1 to the most that was seen, bending where steps on both sides of a bend tell of it."""
    most = max(2.0, float(seen.max())) if len(seen) else 2.0
    found = [1.0]
    for knot in candidates:
        if found[-1] < knot < most and np.count_nonzero((seen > found[-1]) & (seen <= knot)) >= _FEWEST:
            found.append(float(knot))
    return [*found, most]


def _nonnegative(features: Floats, took: Floats, kinds: Mapping[str, NDArray[np.bool_]]) -> tuple[Floats, Floats]:
    """Non-negative weights that fit the mean time in relative terms, and each step's time over that mean.

    Steps far off count less (Huber, Annals of Mathematical Statistics 1964) until it is known which of them stalled; the last fit
    takes all others alike, which makes it one of means. Where a step stalled, its time over the mean is NaN.
    """
    from scipy.optimize import nnls

    scale = np.maximum(features.max(axis=0), 1e-12)
    share = np.zeros(len(took))
    for rows in kinds.values():
        share[rows] = 1 / rows.sum()

    def solved(weight: Floats, expected: Floats) -> tuple[Floats, Floats]:
        row = np.sqrt(weight * share) / expected
        weights = nnls((features / scale) * row[:, None], took * row)[0] / scale
        return weights, np.maximum(features @ weights, 1e-9)

    expected = np.full(len(took), np.median(took))
    for _ in range(_ITERATIONS):
        off = np.abs(took / expected - 1)
        spread = max(1.5 * float(np.median(off)), 1e-6)
        _, expected = solved(np.minimum(1.0, 2 * spread / np.maximum(off, 1e-12)), expected)
    kept = took <= _STALL * expected
    for _ in range(2):
        weights, expected = solved(kept.astype(float), expected)
    return weights, np.where(kept, took / expected, np.nan)
