"""MaverIQ's own extrapolation (the system of iServe, arXiv 2501.13111), equation by equation: the yardstick for ours.

A fingerprint is the latency L(n, o) of the model cut down to n = 1 and 2 layers, producing o = 10 and 20 tokens. Full-model
latency at TP 1 and 2 is linear in layers and output; TP and PP beyond that follow power laws whose exponents were fitted offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Exponents(NamedTuple):
    """α: gain of a pipeline. β, γ: the tensor-parallel overhead's rise with ranks and fall with stages. δ: the pipeline's rise."""

    alpha: float
    beta: float
    gamma: float
    delta: float


PUBLISHED: Mapping[tuple[str, bool], Exponents] = MappingProxyType(
    {
        ("fp16", False): Exponents(0.0491, 0.6858, 0.1877, 0.5686),
        ("int8", False): Exponents(0.0734, 0.6848, 0.9456, 0.4982),
        ("int4", False): Exponents(0.1555, 0.8140, 0.5062, 0.3220),
        ("int4-g128", False): Exponents(0.0584, 0.5912, 0.6822, 0.4356),
        ("fp16", True): Exponents(0.0567, 0.4770, 0.6472, 0.3088),
        ("int8", True): Exponents(1e-6, 0.3886, 0.5518, 0.7020),
        ("int4", True): Exponents(0.0744, 0.4380, 0.8046, 0.4306),
    }
)
"""By (precision of the weights, 8-bit KV cache); from UT-SysML/MaverIQ, fitted there on all six models of its evaluation."""


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Seconds per layer and for all the rest, of the first token and of every output token."""

    ttft_layer: float
    ttft_other: float
    tpot_layer: float
    tpot_other: float

    @classmethod
    def of(cls, seconds: Mapping[tuple[int, int], float]) -> Decomposition:
        """From L(n, o) at the four points (1, 10), (1, 20), (2, 10), (2, 20)."""
        one_10, one_20, two_10, two_20 = (seconds[point] for point in ((1, 10), (1, 20), (2, 10), (2, 20)))
        tpot_layer = ((two_20 - one_20) - (two_10 - one_10)) / 10
        tpot_other = (one_20 - one_10) / 10 - tpot_layer
        ttft_layer = (two_10 - one_10) - 10 * tpot_layer
        return cls(ttft_layer, one_10 - ttft_layer - 10 * (tpot_layer + tpot_other), tpot_layer, tpot_other)

    def full(self, layers: int, output: ArrayLike) -> Floats:
        """Seconds of the model with so many layers."""
        tokens = np.asarray(output, np.float64)
        prompt = layers * self.ttft_layer + self.ttft_other
        return np.asarray(prompt + tokens * (layers * self.tpot_layer + self.tpot_other))


def latency(one_gpu: ArrayLike, two_gpus: ArrayLike, tp: ArrayLike, pp: ArrayLike, exponents: Exponents) -> Floats:
    """Seconds at (TP, PP) from the full model's extrapolated seconds at TP 1 and TP 2 (NaN: never measured, no overhead)."""
    reference, ranks, stages = (np.asarray(v, np.float64) for v in (one_gpu, tp, pp))
    alpha, beta, gamma, delta = exponents
    pipeline = np.maximum(0.0, reference - reference / 2**alpha)
    tensor = np.fmax(0.0, np.asarray(two_gpus, np.float64) - reference / 2)
    split = reference / (ranks * stages**alpha)
    return np.asarray(split + (ranks - 1) ** beta / stages**gamma * tensor + (stages - 1) ** delta * pipeline)


def memory(one_gpu: ArrayLike, two_ranks: ArrayLike, two_stages: ArrayLike, tp: ArrayLike, pp: ArrayLike) -> Floats:
    """Memory at (TP, PP) from the full model's extrapolated memory at (1, 1), (2, 1), (1, 2), in its unit (NaN: no overhead)."""
    reference, ranks, stages = (np.asarray(v, np.float64) for v in (one_gpu, tp, pp))
    per_rank = np.fmax(0.0, np.asarray(two_ranks, np.float64) - reference)
    per_stage = np.fmax(0.0, np.asarray(two_stages, np.float64) - reference)
    return np.asarray(reference + (ranks - 1) * per_rank + ranks * (stages - 1) * per_stage)


def batched(one: ArrayLike, two: ArrayLike, batch: ArrayLike) -> Floats:
    """Latency or memory of a batch from those of batches of 1 and 2: linear, and never falling."""
    single = np.asarray(one, np.float64)
    return np.asarray(single + (np.asarray(batch, np.float64) - 1) * np.maximum(0.0, np.asarray(two, np.float64) - single))
