"""Calibrates the extrapolation's constants from measured runs: fingerprints of one or two layers, whole models, or both.

The fit minimises the mean absolute relative error, so that one bad measurement does not bend the rest, and holds every constant
at or above zero. What a constant means is said in ``policies.extrapolation``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from policies.extrapolation.allreduce import TENSORRT_LLM, AllReduceRule
from policies.extrapolation.architecture import Architecture
from policies.extrapolation.hardware import Columns, Hardware, columns, from_constants
from policies.extrapolation.interval import Extrapolation, Residuals
from policies.extrapolation.memory import MemoryUse, memory_columns
from policies.extrapolation.runs import Runs
from traces.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESIDUAL_FLOOR = 0.01
"""Relative errors below this count alike: measurements repeat no better."""

UNIT_FACTOR = 100.0
"""Runs of one model with equal layers never lie this far from their median; a factor of 1,000 in the unit does."""


@dataclass(frozen=True)
class Samples:
    """Measured runs of one model. ``seconds``, ``memory_bytes`` (over all GPUs, after the run): shape (n,), NaN where unknown."""

    model: str
    architecture: Architecture
    runs: Runs
    seconds: Floats
    memory_bytes: Floats


Predict = Callable[[Samples], Floats]


def calibrate(samples: Sequence[Samples], *, rule: AllReduceRule = TENSORRT_LLM, by_precision: bool = True) -> Hardware:
    """The hardware's constants from measured latencies.

    ``by_precision``: memory and compute have a constant for each precision of the weights; otherwise one for all, which is
    wiser when only fingerprints of one model are at hand. Runs must be bound by memory while they decode (small batches).

    Raises:
        InputError: a latency is missing, not positive, or off by a factor that only a wrong unit explains; one line per row.
    """
    if faults := [fault for s in samples for fault in _faults(s)]:
        raise InputError(*faults)
    names, matrix = design(samples, rule=rule, by_precision=by_precision)
    constants = least_absolute(matrix, np.concatenate([s.seconds for s in samples]))
    return from_constants(dict(zip(names, constants.tolist(), strict=True)), rule)


def design(samples: Sequence[Samples], *, rule: AllReduceRule, by_precision: bool) -> Columns:
    """The linear form of the latency of all samples, one below the other."""
    tables = [columns(s.architecture, s.runs, rule) for s in samples]
    return _joined(tables if by_precision else [_tied(table) for table in tables])


def calibrate_memory(samples: Sequence[Samples]) -> MemoryUse:
    """The constants of memory use from measured memory; rows without a measurement are left out."""
    tables = []
    for s in samples:
        table = memory_columns(s.architecture, s.runs)
        tables.append(Columns(tuple(table), np.stack(list(table.values()), axis=1)))
    names, matrix = _joined(tables)
    memory = np.concatenate([s.memory_bytes for s in samples])
    known = np.isfinite(memory)
    return MemoryUse.from_constants(dict(zip(names, least_absolute(matrix[known], memory[known]).tolist(), strict=True)))


def extrapolate(samples: Sequence[Samples], *, rule: AllReduceRule = TENSORRT_LLM, by_precision: bool = True) -> Extrapolation:
    """Constants from all samples, and prediction intervals from leaving one model out at a time.

    A left-out model's whole runs (as many layers as it has) are predicted from the other models' samples and its own runs of fewer
    layers: what a user has who measured one or two layers on known hardware.

    Raises:
        InputError: a latency is wrong, as for ``calibrate``, or there are too few whole runs to leave one model's out.
    """

    def latency(rest: Sequence[Samples]) -> Predict:
        hardware = calibrate(rest, rule=rule, by_precision=by_precision)
        return lambda s: hardware.latency(s.architecture, s.runs).total_s

    def memory(rest: Sequence[Samples]) -> Predict:
        use = calibrate_memory(rest)
        return lambda s: use.total_bytes(s.architecture, s.runs)

    try:
        residuals = Residuals.of(*_left_out(samples, latency, "seconds")), Residuals.of(*_left_out(samples, memory, "memory_bytes"))
    except ValueError as error:
        raise InputError(f"samples: {error}, from whole runs of two models or more") from None
    return Extrapolation(calibrate(samples, rule=rule, by_precision=by_precision), calibrate_memory(samples), *residuals)


def _left_out(samples: Sequence[Samples], fit: Callable[[Sequence[Samples]], Predict], kind: str) -> tuple[Floats, Ints]:
    """log(measured / predicted) of whole runs whose model's whole runs were left out, and their ranks; unknown ones are dropped."""
    logs, ranks = [np.empty(0)], [np.empty(0, np.int64)]
    for model in dict.fromkeys(s.model for s in samples):
        parts = [(s, (s.runs.layers == s.architecture.layers) & (s.model == model)) for s in samples]
        left = [chosen(s, whole) for s, whole in parts if whole.any()]
        rest = [chosen(s, ~whole) for s, whole in parts if not whole.all()]
        if not left or all(s.model == model for s in rest):
            continue
        predict = fit(rest)
        for s in left:
            error = np.log(getattr(s, kind) / predict(s))
            known = np.isfinite(error)
            logs.append(error[known])
            ranks.append(s.runs.tp[known])
    return np.concatenate(logs), np.concatenate(ranks)


def chosen(samples: Samples, rows: NDArray[np.bool_]) -> Samples:
    """The rows of the samples for which ``rows`` holds."""
    runs = Runs(**{field.name: getattr(samples.runs, field.name)[rows] for field in fields(Runs)})
    return replace(samples, runs=runs, seconds=samples.seconds[rows], memory_bytes=samples.memory_bytes[rows])


def least_absolute(matrix: Floats, target: Floats, rounds: int = 15) -> Floats:
    """Constants (k,) ≥ 0 that minimise the mean of |matrix · constants / target − 1|, by reweighted least squares."""
    from scipy.optimize import nnls

    scale = np.maximum(np.abs(matrix / target[:, None]).max(axis=0), 1e-300)
    relative = matrix / target[:, None] / scale
    weight = np.ones(len(target))
    constants = np.zeros(matrix.shape[1])
    for _ in range(rounds):
        root = np.sqrt(weight)
        basis, triangle = np.linalg.qr(relative * root[:, None])
        constants = nnls(triangle, basis.T @ root)[0]
        weight = 1.0 / np.maximum(np.abs(relative @ constants - 1.0), RESIDUAL_FLOOR)
    return np.asarray(constants / scale)


def _tied(table: Columns) -> Columns:
    """All precisions' columns added up under the name of 16 bits."""
    sums: dict[str, Floats] = {}
    for name, column in zip(table.names, table.matrix.T, strict=True):
        field = name.partition(".")[0]
        shared = f"{field}.fp16" if field in ("read", "compute") else name
        sums[shared] = sums.get(shared, 0.0) + column
    return Columns(tuple(sums), np.stack(list(sums.values()), axis=1))


def _joined(tables: Iterable[Columns]) -> Columns:
    parts = list(tables)
    names = tuple(sorted({name for part in parts for name in part.names}))
    place: Mapping[str, int] = {name: i for i, name in enumerate(names)}
    rows = []
    for part in parts:
        block = np.zeros((len(part.matrix), len(names)))
        block[:, [place[name] for name in part.names]] = part.matrix
        rows.append(block)
    return Columns(names, np.concatenate(rows))


def _faults(samples: Samples) -> list[str]:
    runs, seconds = samples.runs, samples.seconds
    per_token = seconds / runs.output
    faults = []
    for i in range(len(runs)):
        where = (
            f"{samples.model} with {runs.layers[i]} layers, TP {runs.tp[i]}, PP {runs.pp[i]}, "
            f"{runs.precision[i]}, {runs.output[i]} output tokens"
        )
        if not (np.isfinite(seconds[i]) and seconds[i] > 0):
            faults.append(f"{where}: the latency is {seconds[i]}; give seconds above 0, or leave the row out")
            continue
        alike = per_token[(runs.layers == runs.layers[i]) & (seconds > 0)]
        ratio = per_token[i] / np.median(alike)
        if not 1 / UNIT_FACTOR < ratio < UNIT_FACTOR:
            faults.append(f"{where}: {seconds[i]:.3g} s is {ratio:.2g} times what runs with as many layers take; check its unit")
    return faults
