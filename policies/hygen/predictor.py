"""HyGen's latency predictor: the time of a batch as a linear function of what is in it (arXiv 2501.14808, §4.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.latency import LatencyModel, StepShape

Floats = NDArray[np.float64]

FEATURES = ("1", "S_p", "S_d", "S_p²", "S_d²", "N_p", "N_d")
"""S_p: prompt tokens computed; S_d: context tokens that decodes read; N_p, N_d: requests in either phase."""

_FEWEST = 32


@dataclass(frozen=True, slots=True)
class Predictor:
    """Seconds of a batch: the dot product of ``weights`` with ``FEATURES``.

    Build it with ``fit``; the weights are plain numbers, so that a scenario can carry them.
    """

    weights: tuple[float, ...]

    @classmethod
    def fit(cls, steps: Sequence[StepShape], seconds: Sequence[float] | Floats, *, squared_context: bool = True) -> Predictor:
        """The predictor with the least squared relative error over measured steps.

        ``squared_context``: with the feature S_d², which the paper's text has and one account of it leaves out.

        Raises:
            ValueError: fewer than 32 steps, or a time that is not positive.
        """
        times = np.asarray(seconds, dtype=np.float64)
        if len(steps) < _FEWEST:
            raise ValueError(f"{len(steps)} steps; a predictor needs at least {_FEWEST}")
        if not (np.isfinite(times).all() and (times > 0).all()):
            raise ValueError("step times must be positive and finite")
        kept = [i for i in range(len(FEATURES)) if squared_context or FEATURES[i] != "S_d²"]
        features = _features(steps)[:, kept]
        scale = np.maximum(np.abs(features).max(axis=0), 1e-30)
        solution, *_ = np.linalg.lstsq(features / scale / times[:, None], np.ones(len(times)), rcond=None)
        weights = dict(zip(kept, (solution / scale).tolist(), strict=True))
        return cls(tuple(weights.get(i, 0.0) for i in range(len(FEATURES))))

    @classmethod
    def believed(cls, latency: LatencyModel, *, tokens: int, seqs: int, context: int) -> Predictor:
        """The predictor of a latency model's steps, for where none have been measured yet.

        They hold up to ``tokens`` prompt tokens beside up to ``seqs`` decodes of ``context`` each, give or take.
        """
        steps = [
            StepShape(chunk, chunk * (depth * context + chunk / 2), int(chunk > 0), decodes, int(decodes * depth * context))
            for chunk in (0, *(max(1, tokens * part // 8) for part in (1, 2, 4, 6, 8)))
            for decodes in (0, *(max(1, seqs * part // 16) for part in (1, 2, 4, 8, 16)))
            for depth in (0.25, 1.0, 2.0)
            if chunk or decodes
        ]
        return cls.fit(steps, [latency.seconds(step) for step in steps])

    def scaled(self, factor: float) -> Predictor:
        """The same shape, so many times as long."""
        return Predictor(tuple(factor * weight for weight in self.weights))

    def seconds(self, prefill_tokens: float, decode_context: float, prefill_seqs: float, decode_seqs: float) -> float:
        """Seconds of one batch; 0 for an empty one."""
        if not prefill_seqs and not decode_seqs:
            return 0.0
        w0, sp, sd, sp2, sd2, np_, nd = self.weights
        return (
            w0
            + prefill_tokens * (sp + sp2 * prefill_tokens)
            + decode_context * (sd + sd2 * decode_context)
            + np_ * prefill_seqs
            + nd * decode_seqs
        )

    def seconds_many(self, steps: Sequence[StepShape]) -> Floats:
        """Seconds of many batches, shape (n,)."""
        predicted: Floats = _features(steps) @ np.array(self.weights)
        return predicted

    def chunk_within(self, seconds: float, prefill_tokens: int) -> int:
        """The most tokens that a further prefill can add to a batch that holds ``prefill_tokens``, for ``seconds`` at most."""
        _, sp, _, sp2, _, np_, _ = self.weights
        left = seconds - np_
        slope = sp + 2 * sp2 * prefill_tokens
        if left <= 0:
            return 0
        if slope <= 0 and sp2 <= 0:
            return 1 << 30
        if abs(sp2) < 1e-18:
            return int(left / slope)
        under = slope * slope + 4 * sp2 * left
        if under < 0:  # a concave fit that never costs as much
            return 1 << 30
        return max(0, int((math.sqrt(under) - slope) / (2 * sp2)))

    def error(self, steps: Sequence[StepShape], seconds: Sequence[float] | Floats) -> float:
        """Mean absolute error relative to the measured times (MAPE, as a share)."""
        times = np.asarray(seconds, dtype=np.float64)
        return float(np.mean(np.abs(self.seconds_many(steps) - times) / times))


def _features(steps: Sequence[StepShape]) -> Floats:
    table = np.array(steps, dtype=np.float64).reshape(len(steps), -1)
    prefill_tokens, prefill_seqs, decode_seqs, decode_context = table[:, 0], table[:, 2], table[:, 3], table[:, 4]
    one = np.ones(len(steps))
    return np.column_stack([one, prefill_tokens, decode_context, prefill_tokens**2, decode_context**2, prefill_seqs, decode_seqs])


class Drift:
    """Watches a predictor's relative errors and tells when they are no longer those that it was fitted with.

    A two-sided cumulative sum (Page, Biometrika 1954) of the errors in units of ``spread``, their standard deviation when the
    predictor was fitted; shifts under half of it are let pass. With ``threshold`` 12 a false alarm comes about once in 3 · 10⁵
    independent normal errors, and a shift of one spread is told after some 24 steps.
    """

    __slots__ = ("_high", "_low", "spread", "steps", "threshold")

    _SLACK = 0.5

    def __init__(self, spread: float, *, threshold: float = 12.0) -> None:
        if not spread > 0:
            raise ValueError(f"spread is {spread}; it is the standard deviation of relative errors, above 0")
        self.spread = spread
        self.threshold = threshold
        self.steps = 0
        self._high = self._low = 0.0

    def observe(self, predicted_s: float, measured_s: float) -> bool:
        """Take one step's prediction and measurement; True once the predictor has drifted."""
        error = (measured_s / predicted_s - 1) / self.spread
        self.steps += 1
        self._high = max(0.0, self._high + error - self._SLACK)
        self._low = max(0.0, self._low - error - self._SLACK)
        return self.drifted

    @property
    def drifted(self) -> bool:
        return max(self._high, self._low) > self.threshold
