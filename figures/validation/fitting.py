"""Fits the end-to-end corrections of the library to the fit part: ``python -m figures.validation DATA_FOLDER --fit``.

Ten constants for a system (``traces.corrections``), by simulating its rows: Gauss-Newton on the logarithms of TPOT and TTFT, with
finite differences in every second round and Broyden's update in the others. Least absolute deviations, so that a few rows that
are wrong for other reasons do not set the constants. A constant one ``_SCALE`` away from changing nothing costs as much as one row
being off by ``_PRIOR``: what the rows do not tell stays where the operator tables put it. Every row of a system has the same
constants; a system with fewer than ``MIN_ROWS`` rows has none, nor one that predicts rows it has not seen no better than without.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figures.validation.measured import Measured
from figures.validation.predict import predict_all
from figures.validation.scenarios import FRONTEND_PER_TOKEN_S, FRONTEND_S, fingerprint_of
from figures.validation.table import covered
from traces.assembly.correction import Correction, rounded
from traces.corrections import FILE, System
from traces.hardware import model

Floats = NDArray[np.float64]
Run = Callable[[Sequence[tuple[Measured, System | None]]], Sequence[tuple[float, float]]]
"""TTFT and TPOT of each task, in seconds; NaN where it cannot be run."""

MIN_ROWS = 8
FOLDS = 4
ROUNDS = 4
_PRIOR = 0.02
_UNKNOWN_CLIENT = 0.1
"""How much an error of TTFT counts where the source does not tell how the load was made: lockstep decides it, not the engine."""
_STEP = 0.4
_FARTHEST = 1.5
"""Steps of finite differences, and the longest one taken in a round, in scales."""
_REWEIGHTINGS, _SMALLEST_DEVIATION = 30, 0.01
_FRONTEND = {"frontend_s": FRONTEND_S, "frontend_per_token_s": FRONTEND_PER_TOKEN_S}
_SCALE = {
    "pace": 0.05, "prefill_pace": 0.25, "context_pace": 0.25, "expert_pace": 0.15, "frontend_s": 0.3, "frontend_per_token_s": 0.7,
    "step_s": 1e-3, "request_s": 20e-6, "eager_s": 20e-3, "idle_experts": 0.25,
}  # fmt: skip
"""Of factors in their logarithm; of times in seconds and of shares as they are."""
_FACTORS = frozenset({"pace", "prefill_pace", "context_pace", "expert_pace", *_FRONTEND})
_OF_EXPERTS = ("expert_pace", "idle_experts")


@dataclasses.dataclass
class Search:
    """One system's rows, and where its constants are, in scales from changing nothing: ``here``, and a round ago ``before``.

    ``best``: the least cost so far, and where.
    """

    rows: list[Measured]
    names: list[str]
    here: Floats
    before: Floats
    best: tuple[float, Floats] = (math.inf, np.empty(0))
    errors: Floats = dataclasses.field(default_factory=lambda: np.empty(0))
    slopes: Floats = dataclasses.field(default_factory=lambda: np.empty((0, 0)))
    """log(predicted / measured) of TTFT and TPOT, row by row, where ``improve`` was last, and per scale of each constant."""

    @property
    def weights(self) -> Floats:
        """Of the errors, row by row."""
        return np.ravel([(1.0 if row.client_known else _UNKNOWN_CLIENT, 1.0) for row in self.rows])

    def at(self, point: Floats) -> System:
        """The system with the constants of a point."""
        numbers: dict[str, float] = {}
        for name, value in zip(self.names, point.tolist(), strict=True):
            scaled = value * _SCALE[name]
            numbers[name] = _FRONTEND.get(name, 1.0) * math.exp(scaled) if name in _FACTORS else max(scaled, 0.0)
        front, per_token = (float(f"{numbers.pop(name):.4g}") for name in _FRONTEND)
        numbers["idle_experts"] = min(numbers.get("idle_experts", 0.0), 1.0)
        first = self.rows[0]
        fingerprint = fingerprint_of(first)
        return System(
            model=fingerprint.model,
            gpu=fingerprint.gpu,
            precision=fingerprint.precision,
            kv_precision=fingerprint.kv_precision,
            engine=f"{first.engine.lower()} {first.version}",
            async_scheduling=first.async_scheduling,
            correction=rounded(Correction(**numbers)),
            frontend_s=front,
            frontend_per_token_s=per_token,
        )


def fit_all(data: Path, jobs: int | None = None, say: Callable[[str], None] = lambda text: None) -> list[System]:
    """The corrections of all systems of the fit part with rows enough, and what they do to rows that they were not fitted to.

    Raises:
        InputError: the data cannot be read, or a worker died.
    """

    def run(tasks: Sequence[tuple[Measured, System | None]]) -> list[tuple[float, float]]:
        return [(one.ttft_s, one.tpot_s) for one in predict_all(tasks, jobs=jobs)]

    groups: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for row in covered(data)[0]:
        if row.part == "fit" and row.engine == "vLLM":
            groups[row.system, fingerprint_of(row).precision].append(row)
    searches = [started(rows) for _, rows in sorted(groups.items()) if len(rows) >= MIN_ROWS]
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        improve(searches, run, differences=number % 2 == 0)
    say("cross-validation")
    left_out = cross_validated(searches, run)
    plain = _errors(searches, [[np.zeros(len(search.names))] for search in searches], run)
    return [
        _described(search, errors)
        for search, errors, (before,) in zip(searches, left_out, plain, strict=True)
        if _middling(errors) < _middling(np.expm1(before).reshape(-1, 2))
    ]


def _middling(errors: Floats) -> float:
    """What decides whether a correction is shipped: the medians of |error| of TTFT and TPOT, added up."""
    return float(np.median(np.abs(errors), axis=0).sum())


def started(rows: list[Measured]) -> Search:
    """A search that begins with constants that change nothing."""
    names = [name for name in _SCALE if name not in _OF_EXPERTS or model(rows[0].model).experts is not None]
    return Search(rows, names, np.zeros(len(names)), np.zeros(len(names)))


def improve(searches: Sequence[Search], run: Run, *, differences: bool) -> None:
    """One step of each system; all their simulations are run together. ``differences``: take the slopes anew."""
    others = [[search.here + _STEP * one for one in np.eye(len(search.names))] if differences else [] for search in searches]
    found = _errors(searches, [[s.here, *more] for s, more in zip(searches, others, strict=True)], run)
    for search, (errors, *more) in zip(searches, found, strict=True):
        if differences:
            search.slopes = np.column_stack([(one - errors) / _STEP for one in more])
        else:
            moved = search.here - search.before
            told = errors - search.errors - search.slopes @ moved
            search.slopes = search.slopes + np.outer(told, moved) / max(float(moved @ moved), 1e-12)
        search.errors, search.before = errors, search.here
        cost = float(np.abs(search.weights * errors).sum() + _PRIOR * (search.here**2).sum())
        if cost < search.best[0]:
            search.best = cost, search.here
        search.here = search.here + _step(search, np.ones(len(errors), bool))


def cross_validated(searches: Sequence[Search], run: Run) -> list[Floats]:
    """Errors (rows × TTFT, TPOT) of each system's rows, each from constants fitted to the other folds: one step from where
    ``improve`` was last, with its slopes.

    A row's fold follows from SHA-256 of its configuration: repeated measurements stay together.
    """
    folds = [np.array([_fold(row) for row in search.rows]) for search in searches]
    points = [
        [search.before + _step(search, np.repeat(fold != one, 2)) for one in range(FOLDS)]
        for search, fold in zip(searches, folds, strict=True)
    ]
    found = []
    for fold, errors in zip(folds, _errors(searches, points, run), strict=True):
        each = np.stack([one.reshape(-1, 2) for one in errors])
        found.append(np.expm1(each[fold, np.arange(len(fold))]))
    return found


def _fold(row: Measured) -> int:
    return hashlib.sha256(row.configuration.encode()).digest()[1] % FOLDS


def _errors(searches: Sequence[Search], points: Sequence[Sequence[Floats]], run: Run) -> list[list[Floats]]:
    """For each search and point: log(predicted / measured) of TTFT and TPOT, row by row; 0 where a row cannot be run."""
    tasks, measured = [], []
    for search, mine in zip(searches, points, strict=True):
        for point in mine:
            system = search.at(point)
            tasks += [(row, system) for row in search.rows]
            measured += [(row.ttft_s, row.tpot_s) for row in search.rows]
    logs = np.nan_to_num(np.log(np.array(run(tasks)) / np.array(measured)))
    found, at = [], 0
    for search, mine in zip(searches, points, strict=True):
        rows = len(search.rows)
        found.append([logs[at + i * rows : at + (i + 1) * rows].ravel() for i in range(len(mine))])
        at += rows * len(mine)
    return found


def _step(search: Search, use: NDArray[np.bool_]) -> Floats:
    """The step that makes Σ |errors| + ``_PRIOR`` × |point|² least, were the errors linear in it; times and shares stay ≥ 0."""
    from scipy.optimize import lsq_linear

    here, slopes, errors = search.before, search.slopes, search.errors
    lowest = np.array([-_FARTHEST if n in _FACTORS else max(-at, -_FARTHEST) for n, at in zip(search.names, here, strict=True)])
    step = np.zeros(len(here))
    weights = search.weights[use]
    design, left = weights[:, None] * slopes[use], weights * errors[use]
    prior = math.sqrt(_PRIOR) * np.eye(len(here))
    for _ in range(_REWEIGHTINGS):
        root = 1 / np.sqrt(np.maximum(np.abs(left + design @ step), _SMALLEST_DEVIATION))
        matrix = np.vstack([design * root[:, None], prior])
        target = np.concatenate([-left * root, -math.sqrt(_PRIOR) * here])
        step = lsq_linear(matrix, target, bounds=(np.minimum(lowest, 0.0) - 1e-9, _FARTHEST)).x
    return np.asarray(step, float)


def _described(search: Search, errors: Floats) -> System:
    size = np.abs(errors)
    summary = {
        f"{name}, cross-validated": (round(float(np.median(column)), 4), round(float(np.quantile(column, 0.9)), 4), len(column))
        for name, column in zip(("TTFT", "TPOT"), size.T, strict=True)
    }
    rows = search.rows
    return dataclasses.replace(
        search.at(search.best[1]),
        tensor_parallel=tuple(sorted({row.tensor_parallel for row in rows})),
        rows=len(rows),
        errors=summary,
        source="silicon sample of AIConfigurator (Apache-2.0), fit part",
    )


def write(systems: Sequence[System], file: Path = FILE) -> None:
    """Into the library: one line per list."""
    text = json.dumps([one.to_dict() for one in systems], indent=1, ensure_ascii=False)
    file.write_text(re.sub(r"\[[^][{}]*\]", lambda listing: json.dumps(json.loads(listing[0])), text) + "\n", encoding="utf-8")
