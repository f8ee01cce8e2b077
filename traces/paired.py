"""Differences between two arms that share their random numbers, with 95 % intervals.

Every statistic of an arm is linearised: its error is a sum of influences, one per request (or slice of time). A ratio r = Σy / Σx
has the influence (y − rx) / Σx; a quantile q of n samples has (p − [y ≤ q]) / (f·n), where the slope 1/f is the secant of the
empirical quantile function over Woodruff's interval of ranks, the same ranks in both arms (Bahadur 1966; Woodruff 1952; Francisco &
Fuller, Annals of Statistics 1991). The error of a difference is then the sum over requests of (influence in B − influence in A):
what both arms share cancels request by request. Its variance comes from batches in time order, as in ``traces.intervals``.

Several seeds are independent replications. Their differences are averaged, and the variance of the average is known twice: from
within the runs and from the spread between seeds. From ``ENOUGH_SEEDS`` on the spread alone decides, because it also holds what no
single run can see (correlation longer than the run); from ``LEAST_SEEDS`` on it does where a single run tells no error. Otherwise
both are pooled by their degrees of freedom, of which the runs' own are taken to have ``TRUSTED`` at most, because batches are never
quite independent; unless seeds spread more than chance allows (F test at 1 %): then the spread decides, and the note says so. One
run alone is taken at its word, and its interval marked as not to be trusted: it holds for long steady runs, and in fewer than nine
of ten minutes of a busy fleet (``python -m benchmarks.pairing``).
From ``ENOUGH_SEEDS`` on, what the seeds' workloads explain of that spread is taken out too (``traces.controls``).

A difference of shares or of rates of events counts one more event than was seen (Agresti & Min, Biometrics 2005), so that two arms
that agree on every verdict still have an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.controls import Controls, adjusted
from traces.intervals import Floats, error_of_sum, rank_interval, starts

ENOUGH_SEEDS = 10
LEAST_SEEDS = 4
TRUSTED = 8.0
_SPREAD_BY_CHANCE = 0.01

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Linear:
    """A statistic of one arm. ``influence``: what each row adds to its error. ``event``: what one more event would change it by."""

    value: float
    influence: Floats
    event: float = 0.0


@dataclass(frozen=True, slots=True)
class Contrast:
    """A statistic in both arms of one seed, and the standard error of B − A.

    ``degrees``: of freedom of ``error``. ``alone``: the standard error if the arms had not shared their random numbers.
    ``error`` is NaN where the samples tell none; ``note`` says why.
    """

    a: float
    b: float
    n: int
    error: float
    degrees: float
    alone: float
    event: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A difference over all seeds. ``p``: two-sided p-value of "no difference"; ``gain``: variance without pairing over with it."""

    a: float
    b: float
    n: int
    lo: float | None
    hi: float | None
    p: float | None
    gain: float | None
    note: str = ""

    @property
    def difference(self) -> float:
        """B − A."""
        return self.b - self.a


def ratio(y: Floats, x: Floats, event: float = 0.0) -> Linear | None:
    """Σy / Σx over rows in time order; ``None`` when Σx is 0."""
    total = float(x.sum())
    if total <= 0:
        return None
    value = float(y.sum()) / total
    return Linear(value, (y - value * x) / total, event)


def contrast(a: Linear, b: Linear, n: int, *, paired: bool = True) -> Contrast:
    """Of two statistics whose rows are the same requests (or slices of time). Not ``paired``: the rows have nothing in common."""
    batches_a, batches_b = (np.add.reduceat(s.influence, starts(len(s.influence))) for s in (a, b))
    (error_a, degrees_a), (error_b, degrees_b) = error_of_sum(batches_a), error_of_sum(batches_b)
    alone = math.hypot(error_a, error_b)
    error, degrees = error_of_sum(batches_b - batches_a) if paired else (alone, _welch((error_a, degrees_a), (error_b, degrees_b)))
    note = "" if not math.isnan(error) else "no interval from so few requests"
    return Contrast(a.value, b.value, n, error, degrees, alone, max(a.event, b.event), note)


def quantile_contrast(a: Floats, in_a: Mask, b: Floats, in_b: Mask, p: float) -> Contrast | None:
    """Of a quantile. Rows are requests in time order; ``in_a``, ``in_b``: which of them have a value in that arm."""
    if not in_a.any() or not in_b.any():
        return None
    values = [float(np.quantile(y[rows], p)) for y, rows in ((a, in_a), (b, in_b))]
    n = min(int(in_a.sum()), int(in_b.sum()))
    ranks = [rank_interval(p, y[rows], value) for y, rows, value in zip((a, b), (in_a, in_b), values, strict=True)]
    low, high = min(low for low, _ in ranks), max(high for _, high in ranks)
    if low <= 0 or high >= 1 or low * n < 1:
        note = f"no interval: too few independent samples beyond p{100 * p:g}"
        return Contrast(values[0], values[1], n, math.nan, math.nan, math.nan, note=note)
    arms = []
    for y, rows, value in zip((a, b), (in_a, in_b), values, strict=True):
        lower, upper = np.quantile(y[rows], [low, high])
        slope = float(upper - lower) / (high - low)
        reached = y <= value
        influence = np.where(rows, (float(reached[rows].mean()) - reached) * slope / rows.sum(), 0.0)
        arms.append(Linear(value, influence))
    return contrast(arms[0], arms[1], n)


def pool(contrasts: Sequence[Contrast], controls: Controls | None = None) -> Pooled:
    """The average difference over seeds. ``controls``: of the seeds' workloads; used from ``ENOUGH_SEEDS`` on."""
    from scipy.special import stdtr, stdtrit  # a tenth of scipy.stats' import time

    seeds = len(contrasts)
    a, b = (np.array([getattr(c, arm) for c in contrasts], np.float64) for arm in ("a", "b"))
    n = sum(c.n for c in contrasts)
    if seeds >= ENOUGH_SEEDS and controls is not None and controls.usable:
        at_average = adjusted(b - a, controls)
        mean_a, mean_b = (adjusted(arm, controls).mean for arm in (a, b))
        variance, degrees, note = at_average.variance * seeds, at_average.degrees, ""
    else:
        mean_a, mean_b = float(a.mean()), float(b.mean())
        variance, degrees, note = _variance(contrasts)
    if math.isnan(variance):
        return Pooled(mean_a, mean_b, n, None, None, None, None, note)
    alone = float(a.var(ddof=1) + b.var(ddof=1)) if seeds >= ENOUGH_SEEDS else float(np.mean([c.alone**2 for c in contrasts]))
    gain = alone / variance if variance > 0 and math.isfinite(alone) else None
    event = float(np.mean([c.event for c in contrasts]))
    error = math.sqrt(variance / seeds + (event / seeds) ** 2)
    half = float(stdtrit(min(degrees, 1e9), 0.975)) * error
    difference = mean_b - mean_a
    p = 2 * float(stdtr(min(degrees, 1e9), -abs(difference) / error)) if error > 0 else float(difference == 0)
    return Pooled(mean_a, mean_b, n, difference - half, difference + half, p, gain, note)


def _variance(contrasts: Sequence[Contrast]) -> tuple[float, float, str]:
    """Of one seed's difference, with its degrees of freedom and what to know of it; NaN where nothing tells it."""
    from scipy.special import fdtri

    seeds = len(contrasts)
    notes = list(dict.fromkeys(c.note for c in contrasts if c.note))
    squares = np.array([c.error**2 for c in contrasts])
    between = float(np.var([c.b - c.a for c in contrasts], ddof=1)) if seeds > 1 else math.nan
    known = not np.isnan(squares).any()
    if seeds >= ENOUGH_SEEDS or (seeds >= LEAST_SEEDS and not known):
        return between, seeds - 1.0, ""
    if not known:
        return math.nan, math.nan, "; ".join(notes)
    variance, degrees = float(squares.mean()), _pooled_degrees(squares, np.array([c.degrees for c in contrasts]))
    if variance > 0 and seeds == 1:
        notes.append("one run knows little of its own error: give --seeds 5 or more to trust this interval")
    elif variance > 0 or between > 0:
        if between > variance * float(fdtri(seeds - 1, degrees, 1 - _SPREAD_BY_CHANCE)):
            variance, degrees = between, seeds - 1.0
            notes.append("seeds differ by more than single runs let expect: run more seeds, or longer")
        else:
            degrees = min(degrees, TRUSTED)
            variance = (degrees * variance + (seeds - 1) * between) / (degrees + seeds - 1)
            degrees += seeds - 1
    return variance, degrees, "; ".join(notes)


def stands(p_values: Sequence[float | None], level: float = 0.05) -> list[bool]:
    """Which of many comparisons still differ when all are judged together (Holm, Scandinavian Journal of Statistics 1979)."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    found = [False] * len(p_values)
    for rank, (p, i) in enumerate(known):
        if p > level / (len(known) - rank):
            break
        found[i] = True
    return found


def _welch(a: tuple[float, float], b: tuple[float, float]) -> float:
    (error_a, degrees_a), (error_b, degrees_b) = a, b
    return _pooled_degrees(np.array([error_a**2, error_b**2]), np.array([degrees_a, degrees_b]))


def _pooled_degrees(variances: Floats, degrees: Floats) -> float:
    """Satterthwaite's degrees of freedom of a sum of independent variance estimates."""
    if not variances.sum() > 0:
        return math.inf
    some = variances > 0
    return float(variances.sum() ** 2 / (variances[some] ** 2 / degrees[some]).sum())
