"""Whether the prediction intervals hold what they say, on models that neither constants nor intervals have seen whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.extrapolation.folds import Models, latency_prints
from policies.extrapolation.interval import Extrapolation, Interval
from traces.extrapolation import Samples, extrapolate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """Of one model's whole runs: whether each lies in its interval, half the interval's width over the prediction, its ranks."""

    what: str
    model: str
    inside: NDArray[np.bool_]
    half_width: Floats
    ranks: NDArray[np.int64]


def all_models(models: Models) -> Extrapolation:
    """From all samples: what the library ships for RTX A6000."""
    return extrapolate([s for m in models.values() for s in (latency_prints(m), m.whole)])


def held(models: Models, level: float) -> Iterator[Held]:
    """Each model in turn from the other five and its own fingerprints. The intervals come from leaving one of the five out."""
    for name, left in models.items():
        others = [s for other, m in models.items() if other != name for s in (latency_prints(m), m.whole)]
        found = extrapolate([*others, latency_prints(left)])
        whole = left.whole
        yield _held("latency", whole, whole.seconds, found.latency_s(whole.architecture, whole.runs, level))
        yield _held("memory", whole, whole.memory_bytes, found.memory_bytes(whole.architecture, whole.runs, level))


def _held(what: str, whole: Samples, measured: Floats, interval: Interval) -> Held:
    known = np.isfinite(measured)
    inside = (interval.lo <= measured) & (measured <= interval.hi)
    half = (interval.hi - interval.lo) / 2 / interval.mean
    return Held(what, whole.model, inside[known], half[known], whole.runs.tp[known])
