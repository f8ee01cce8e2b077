"""Estimates with 95 % intervals from one run, whose requests and steps depend on each other.

Method. A stream in time order is cut into ``BATCHES`` batches. Every estimate is a ratio of sums r = ΣY / ΣX over batches (a mean
has X = count, a proportion Y = successes, a rate X = seconds), and its variance comes from the residuals e = Y − rX:

    var(r) = Σe² · f · B / (B − f) / (ΣX)²,   f = (1 + ρ) / (1 − ρ)

the batch-means estimator for batches whose correlation dies out geometrically (an AR(1) of batches). ρ is that of neighbouring
batches, corrected for its bias, (1 + 4ρ) / B (Marriott & Pope, Biometrika 1954), and at most 1/2. That removes most of the bias
that batches of a correlation time have. Its degrees of freedom are B (1 − ρ²) / (3 + ρ²), by the delta method, but no more than
(Σe²)² / Σe⁴ (Satterthwaite): fewer when a few batches hold all the variation, so that bursts widen the interval instead of hiding
in it. The multiplier is Student's t.

- A proportion gets Wilson's score interval at its effective sample size p(1 − p) / var(p) (Korn & Graubard, Survey Methodology
  1998), so that 100 % of n requests still has a lower end below 1.
- A quantile gets Woodruff's interval (JASA 1952): the variance of the share of samples below the estimated quantile, stabilised by
  the arcsine, picks the two order statistics. No density is estimated, and the interval is as lopsided as the tail.

In a tail, a run that by luck saw few bursts takes its samples for independent just when it should not. Three times as many samples,
and at least the outermost 5 %, show better how they cluster: where they tell a smaller effective sample size, the geometric mean of
the two is taken (``_effective_at``). An attainment near 100 % is a tail, too: of the requests' *strain*, latency over limit. Where
fewer than ten missed, the requests that came nearest to it tell alone, and 100 % of correlated requests is not taken for 100 % of
independent ones.

``python -m benchmarks.coverage`` measures on simulated queues and fleets, all the way from scenario to summary, how many intervals
hold the truth; tests/traces/test_intervals.py does on synthetic streams. Both ask for 92 to 98 % of attainment, goodput, and p50
and p99 of TTFT and TPOT. A p99 has a ``note``, and is not to be trusted, where the run is too short for it: where it holds fewer
than ``ENOUGH_EXCURSIONS`` independent excursions beyond the p99 (``traces.excursions``). What no method sees from one run: a
correlation longer than the run; congestion that comes once in many runs, by those without it; the mean of a drift (a queue that
grows). Where misses come in fewer than about five spells, an attainment's interval errs on the wide side.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.excursions import ENOUGH_EXCURSIONS, independent_share

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
BATCHES = 32
_Z = 1.959964
_LEAST_INFLATION = 0.5  # chance alone hardly ever makes 32 batches vary less than half as much as independent samples would
_MOST_CORRELATION = 0.5
_THICKER = 3.0
_LEAST_TAIL = 0.05
_HANDFUL = 10
_T_DEGREES = np.array([1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 30, math.inf])
_T_VALUES = np.array(  # scipy.stats.t.ppf(0.975, degrees)
    [12.7062, 8.0280, 6.0167, 4.9488, 4.3027, 3.5747, 3.1824, 2.7764, 2.5706, 2.4469, 2.3060, 2.2281, 2.1314, 2.0423, _Z]
)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a run. ``None`` = unknown, shown as "–" (``lo`` or ``hi`` alone: the samples set no limit on that side).

    ``lo``, ``hi``: 95 % interval. ``n``: samples behind it. ``note``: what a reader must know before quoting it.
    """

    value: float | None
    lo: float | None = None
    hi: float | None = None
    n: int = 0
    note: str = ""


UNKNOWN = Estimate(None)


def mean(x: Floats) -> Estimate:
    """Of samples in time order."""
    return ratio_of_samples(x, np.ones(len(x)))


def ratio_of_samples(y: Floats, x: Floats, n: int | None = None) -> Estimate:
    """Σy / Σx of samples in time order: a mean of y / x with weights x. ``n``: samples to report, if each stands for several."""
    if len(x) == 0:
        return UNKNOWN
    at = starts(len(x))
    return ratio(np.add.reduceat(y, at), np.add.reduceat(x, at), len(x) if n is None else n)


def ratio(numerators: Floats, denominators: Floats, n: int) -> Estimate:
    """ΣY / ΣX of batches in time order. ``n``: samples behind them. A rate is events over seconds, batch by batch."""
    if len(numerators) == 0 or denominators.sum() <= 0:
        return UNKNOWN
    value, error, t = _spread(numerators, denominators)
    if math.isnan(error):
        return Estimate(value, n=n, note=f"no interval from {_samples(n)}")
    return Estimate(value, value - t * error, value + t * error, n)


def proportion(successes: Mask, strain: Floats | None = None) -> Estimate:
    """Share of successes among events in time order.

    ``strain``: how near each event came to the other side, in any unit: successes are the events of least strain. Without it, or
    with no more than a handful of either kind, nothing tells how those that are rare cluster.
    """
    n = len(successes)
    if n == 0:
        return UNKNOWN
    p = np.count_nonzero(successes) / n
    if strain is None:
        _, effective, t = _effective(*_shares(successes), n)
    else:
        effective, t = _effective_at(p, strain, np.sort(strain), successes)
    scale = 1 + t * t / effective
    centre = (p + t * t / (2 * effective)) / scale
    half = t * math.sqrt(p * (1 - p) / effective + (t / (2 * effective)) ** 2) / scale
    return Estimate(p, max(0.0, centre - half) if p > 0 else 0.0, min(1.0, centre + half) if p < 1 else 1.0, n)


def quantiles(x: Floats, probabilities: Sequence[float]) -> list[Estimate]:
    """Quantiles (linear between order statistics) of samples in time order."""
    n = len(x)
    if n == 0:
        return [UNKNOWN for _ in probabilities]
    ordered = np.sort(x)
    independent = independent_share(x, ordered)
    estimates = []
    for p in probabilities:
        below, part = divmod(p * (n - 1), 1)
        value = float(ordered[int(below)] * (1 - part) + ordered[min(int(below) + 1, n - 1)] * part)
        effective, t = _effective_at(p, x, ordered, x <= value)
        low, high = _ranks(p, effective, t)
        first, last = math.floor(low * n), math.ceil(high * n)
        lo = min(value, float(ordered[first - 1])) if first >= 1 and low > 0 else None
        hi = max(value, float(ordered[last - 1])) if last <= n and high < 1 else None
        estimates.append(Estimate(value, lo, hi, n, quantile_note(p, n, independent * n)))
    return estimates


def histogram_quantiles(
    values: Floats,
    counts: Floats,
    probabilities: Sequence[float],
    shares: Sequence[tuple[Floats, Floats]],
    resolution: float,
) -> list[Estimate]:
    """Quantiles of a histogram: ``values``, the ascending middles of bins ±``resolution`` (relative) wide, and ``counts``.

    A histogram has lost the order in time. ``shares`` brings it back: for each probability, batch by batch, the weight below the
    quantile and the whole weight, as observed in time.
    """
    n = int(counts.sum())
    if n == 0:
        return [UNKNOWN for _ in probabilities]
    reached = np.cumsum(counts) / n
    at = np.minimum(np.searchsorted(reached, np.clip(probabilities, 0, 1)), len(values) - 1)
    estimates = []
    for p, bin_, (below, weight) in zip(probabilities, at.tolist(), shares, strict=True):
        value = float(values[bin_])
        if weight.sum() <= 0:
            estimates.append(Estimate(value, n=n, note="no interval: no steps to tell how gaps follow each other"))
            continue
        _, effective, t = _effective(below, weight, n)
        low, high = _ranks(p, effective, t)
        lo, hi = (float(values[min(int(np.searchsorted(reached, rank)), len(values) - 1)]) for rank in (low, high))
        estimates.append(
            Estimate(
                value,
                lo * (1 - resolution) if low > 0 else None,
                hi * (1 + resolution) if high < 1 else None,
                n,
                quantile_note(p, n, effective),
            )
        )
    return estimates


def quantile_note(probability: float, n: int, independent: float) -> str:
    """What to know of a quantile from ``n`` samples in so many independent groups; empty when all is well."""
    tail = min(probability, 1 - probability)
    name = f"p{100 * probability:g}"
    needed = round(1 / tail)
    if n < needed:
        return f"from {_samples(n)}; {name} needs {needed}"
    if independent * tail < ENOUGH_EXCURSIONS and probability != 0.5:
        seen = max(1, math.floor(independent * tail))
        return f"only about {seen} independent excursion{'' if seen == 1 else 's'} beyond {name}; run longer to trust it"
    return ""


def students_t(degrees: float) -> float:
    """The 97.5 % point of Student's t, within 1 %, for 1 degree of freedom or more."""
    return float(np.exp(np.interp(-1 / degrees, -1 / _T_DEGREES, np.log(_T_VALUES))))


def error_of_sum(residuals: Floats) -> tuple[float, float]:
    """Standard error of the sum of residuals of batches in time order, and its degrees of freedom; NaN from fewer than three."""
    batches = len(residuals)
    if batches < 3:
        return math.nan, math.nan
    squares = residuals * residuals
    power = float(squares.sum())
    if power <= 0:
        return 0.0, math.inf
    seen = float(residuals[1:] @ residuals[:-1]) / power
    correlation = min(seen + (1 + 4 * seen) / batches, _MOST_CORRELATION)
    inflation = max((1 + correlation) / (1 - correlation), _LEAST_INFLATION)
    variance = power * inflation * batches / (batches - min(inflation, batches / 2))
    degrees = batches * (1 - correlation**2) / (3 + correlation**2)
    return math.sqrt(variance), max(1.0, min(power**2 / float(squares @ squares), degrees))


def rank_interval(p: float, x: Floats, value: float) -> tuple[float, float]:
    """Woodruff's interval of ranks for quantile ``p``, estimated as ``value``, of samples in time order."""
    return _ranks(p, *_effective_at(p, x, np.sort(x), x <= value))


def starts(n: int) -> NDArray[np.int64]:
    """First row of each batch of ``n`` rows, for ``np.add.reduceat``."""
    batches = min(BATCHES, n)
    return np.arange(batches, dtype=np.int64) * n // batches


def _shares(hits: Mask) -> tuple[Floats, Floats]:
    n = len(hits)
    bounds = [*starts(n).tolist(), n]
    counts = [np.count_nonzero(hits[a:b]) for a, b in itertools.pairwise(bounds)]
    return np.array(counts, np.float64), np.diff(bounds).astype(np.float64)


def _spread(y: Floats, x: Floats) -> tuple[float, float, float]:
    """Ratio, its standard error (NaN from fewer than three batches) and the t multiplier."""
    total = float(x.sum())
    value = float(y.sum()) / total
    e = y - value * x
    if float(e @ e) <= (1e-12 * float(np.abs(y).max(initial=0.0))) ** 2 * len(y) and len(y) >= 3:
        return value, 0.0, _Z
    error, degrees = error_of_sum(e)
    return value, error / total, students_t(degrees)


def _effective(y: Floats, x: Floats, n: int) -> tuple[float, float, float]:
    """Proportion, the number of independent samples that would know it as well, and the t multiplier."""
    p, error, t = _spread(y, x)
    p = min(max(p, 0.0), 1.0)
    if not 0 < p < 1 or math.isnan(error):
        return p, float(n), _Z
    return p, min(p * (1 - p) / error**2 if error > 0 else math.inf, n / _LEAST_INFLATION), t


def _effective_at(p: float, x: Floats, ordered: Floats, below: Mask) -> tuple[float, float]:
    """The number of independent samples that would know the share ``p`` of samples ``below`` as well, and the t multiplier.

    In a tail, a thicker one is asked, too, and where it tells a smaller number, the geometric mean of the two counts. A handful of
    samples in the tail tells nothing of how they cluster: then the thicker one tells alone.
    """
    n = len(x)
    tail = max(_THICKER * min(p, 1 - p), _LEAST_TAIL)
    _, effective, t = _effective(*_shares(below), n)
    if tail >= 0.5:
        return effective, t
    rank = 1 - tail if p > 0.5 else tail
    _, thicker, thicker_t = _effective(*_shares(x <= ordered[int(rank * (n - 1))]), n)
    if min(p, 1 - p) * n < _HANDFUL:
        return min(thicker, n), thicker_t
    return math.sqrt(effective * min(effective, thicker)), t


def _ranks(p: float, effective: float, t: float) -> tuple[float, float]:
    """The ranks, as shares of the samples, between which the true quantile lies; 0 or 1 where the samples set no limit."""
    middle, half = math.asin(math.sqrt(p)), t / (2 * math.sqrt(effective))
    low = math.sin(middle - half) ** 2 if middle > half else 0.0
    high = math.sin(middle + half) ** 2 if middle + half < math.pi / 2 else 1.0
    return low, high


def _samples(n: int) -> str:
    return f"{n} sample{'' if n == 1 else 's'}"
