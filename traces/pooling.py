"""One estimate from several runs of the same point with different seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from traces.intervals import UNKNOWN, Estimate, students_t
from traces.metrics import METRICS

REPLICATIONS = 4
"""Runs from which their spread tells more than what each run knows of itself; Student's t of fewer is too wide to be of use."""

_SHARES = {key for metric in METRICS if metric.unit == "1" for key in metric.keys}


def pooled(metric: str, estimates: Sequence[Estimate]) -> Estimate:
    """The mean of a metric over independent runs, each of the same weight, with a 95 % interval; unknown where a run does not know.

    From four runs on, the interval comes from their spread (``replicated``), else from the runs' own (``combined``).
    """
    spread = len(estimates) >= REPLICATIONS and len({estimate.value for estimate in estimates}) > 1
    found = replicated(estimates) if spread else combined(estimates)
    return replace(
        found,
        lo=None if found.lo is None else max(found.lo, 0.0),
        hi=None if found.hi is None else min(found.hi, 1.0) if metric in _SHARES else found.hi,
    )


def replicated(estimates: Sequence[Estimate]) -> Estimate:
    """Student's t of the runs' values: independent replications (Law, Simulation Modeling and Analysis, ch. 9).

    It asks nothing of the runs but that their seeds differ: it holds where a run's own interval cannot, as when a queue grows all
    through the run, or luck lasts longer than the run. Runs that all agree seem to leave no doubt, so combine those.
    """
    values = _values(estimates)
    if values is None or len(values) < 2:
        return combined(estimates)
    half = float(np.std(values, ddof=1)) / math.sqrt(len(values)) * students_t(len(values) - 1)
    return _mean(estimates, values, half, half)


def combined(estimates: Sequence[Estimate]) -> Estimate:
    """The runs' own intervals put together by MOVER (Zou & Donner, Statistics in Medicine 2008): the distances to the lower ends,
    and those to the upper ends, add up in quadrature, so that lopsided intervals stay lopsided.
    """
    values = _values(estimates)
    if values is None:
        unknown = sum(estimate.value is None for estimate in estimates)
        return Estimate(None, n=_n(estimates), note=f"unknown in {unknown} of {len(estimates)} runs") if estimates else UNKNOWN
    if len(estimates) == 1:
        return estimates[0]
    below = [None if e.lo is None else v - e.lo for e, v in zip(estimates, values, strict=True)]
    above = [None if e.hi is None else e.hi - v for e, v in zip(estimates, values, strict=True)]
    return _mean(estimates, values, _quadrature(below), _quadrature(above))


def _mean(estimates: Sequence[Estimate], values: Sequence[float], below: float | None, above: float | None) -> Estimate:
    value = math.fsum(values) / len(values)
    note = next((estimate.note for estimate in estimates if estimate.note), "")
    return Estimate(value, None if below is None else value - below, None if above is None else value + above, _n(estimates), note)


def _quadrature(distances: Sequence[float | None]) -> float | None:
    known = [distance for distance in distances if distance is not None]
    return math.sqrt(math.fsum(d * d for d in known)) / len(known) if len(known) == len(distances) else None


def _values(estimates: Sequence[Estimate]) -> list[float] | None:
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    return values if estimates and len(values) == len(estimates) else None


def _n(estimates: Sequence[Estimate]) -> int:
    return sum(estimate.n for estimate in estimates)
