"""MaverIQ's equations on its own measurements, with the published exponents and with exponents refitted on other models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.extrapolation.measurements import SCORED_OUTPUT, Measured
from policies.extrapolation.maveriq import PUBLISHED, Decomposition, Exponents, latency, memory
from traces.extrapolation import Samples

Floats = NDArray[np.float64]
Family = tuple[str, bool]
"""Precision of the weights, and whether the KV cache has 8 bits: the paper has one set of exponents for each."""

STARTS = (Exponents(0.1, 0.6, 0.6, 0.5), Exponents(0.5, 1.0, 0.5, 1.0), Exponents(0.02, 0.3, 0.3, 0.3))
SMALLEST, LARGEST = 1e-6, 2.0


class References(NamedTuple):
    """What the equations start from, one per whole-model run: seconds at TP 1 and TP 2 (NaN where TP 2 was not measured)."""

    one_gpu: Floats
    two_gpus: Floats


def families(samples: Samples) -> list[Family]:
    """The exponents' key of every run."""
    return [(str(p), bool(k == 1.0)) for p, k in zip(samples.runs.precision, samples.runs.kv_bytes, strict=True)]


def references(model: Measured) -> References:
    """Extrapolates the fingerprints of one model to all its layers."""
    whole = model.whole
    points: dict[tuple[Family, int], dict[tuple[int, int], float]] = {}
    prints = model.fingerprints
    for i, family in enumerate(families(prints)):
        if prints.runs.pp[i] == 1:
            point = int(prints.runs.layers[i]), int(prints.runs.output[i])
            points.setdefault((family, int(prints.runs.tp[i])), {})[point] = float(prints.seconds[i])
    parts = {key: Decomposition.of(seconds) for key, seconds in points.items()}

    def at(tp: int) -> Floats:
        return np.array(
            [
                float(parts[family, tp].full(whole.architecture.layers, output)) if (family, tp) in parts else np.nan
                for family, output in zip(families(whole), whole.runs.output, strict=True)
            ]
        )

    return References(at(1), at(2))


def predict(model: Measured, exponents: Mapping[Family, Exponents] = PUBLISHED) -> Floats:
    """Seconds of every whole-model run."""
    start = references(model)
    seconds = np.empty(len(model.whole.runs))
    of = families(model.whole)
    for family in set(of):
        here = np.array([f == family for f in of])
        runs = model.whole.runs
        seconds[here] = latency(start.one_gpu[here], start.two_gpus[here], runs.tp[here], runs.pp[here], exponents[family])
    return seconds


def refit(models: Sequence[Measured]) -> dict[Family, Exponents]:
    """Exponents that minimise the mean absolute percentage error at the scored output length over the models given."""
    from scipy.optimize import minimize

    pooled: dict[Family, list[tuple[Floats, ...]]] = {}
    for model in models:
        start, whole = references(model), model.whole
        of = families(whole)
        for family in set(of):
            here = np.array([f == family for f in of]) & (whole.runs.output == SCORED_OUTPUT)
            arrays = (start.one_gpu, start.two_gpus, whole.runs.tp, whole.runs.pp, whole.seconds)
            pooled.setdefault(family, []).append(tuple(np.asarray(a, float)[here] for a in arrays))
    fitted = {}
    for family, parts in pooled.items():
        one, two, tp, pp, measured = (np.concatenate(column) for column in zip(*parts, strict=True))

        def error(x: Floats, one=one, two=two, tp=tp, pp=pp, measured=measured) -> float:
            return float(np.abs(latency(one, two, tp, pp, Exponents(*np.clip(x, SMALLEST, LARGEST))) / measured - 1).mean())

        best = min(
            (minimize(error, start, method="Nelder-Mead", options={"maxiter": 2000}) for start in STARTS),
            key=lambda found: found.fun,
        )
        fitted[family] = Exponents(*np.clip(best.x, SMALLEST, LARGEST).tolist())
    return fitted


def predict_memory(model: Measured) -> Floats:
    """Bytes of every whole-model run."""
    prints, whole = model.fingerprints, model.whole
    measured: dict[tuple[Family, int, int, int], float] = {}
    for i, family in enumerate(families(prints)):
        if prints.runs.output[i] == 10:
            key = family, int(prints.runs.tp[i]), int(prints.runs.pp[i]), int(prints.runs.layers[i])
            measured[key] = float(prints.memory_bytes[i])

    def at(family: Family, tp: int, pp: int) -> float:
        fewer, more = (measured.get((family, tp, pp, pp + extra), np.nan) for extra in (0, 1))
        return fewer + (whole.architecture.layers - pp) * (more - fewer)

    corners = np.array([[at(f, 1, 1), at(f, 2, 1), at(f, 1, 2)] for f in families(whole)])
    return memory(*corners.T, whole.runs.tp, whole.runs.pp)
