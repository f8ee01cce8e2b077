"""When requests come: arrival processes, as whole arrays.

Common random numbers: a process draws one unit-rate sequence from its stream, and the rate only stretches it. Two arms of a
comparison that share a seed therefore see the same arrivals, faster or slower, whatever their rates; and the first m of n
arrivals are the same for every n. Where a process has times of its own (a rate profile, on and off periods in seconds),
the rate scales the intensity and those times stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.streams import generator
from traces.errors import InputError
from traces.quantiles import QuantileTable

Times = NDArray[np.float64]


class ArrivalProcess(Protocol):
    """A point process on [0, infinity)."""

    @property
    def natural_rate(self) -> float | None:
        """Its own mean rate in 1/s when nobody asks for another; ``None`` when it has none."""

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        """The first ``n`` arrivals in seconds, rising.

        ``rate``: mean rate over the first ``over_s`` seconds (``None``: over the long run); ``None`` = the natural one.
        """


def arrival_times(
    process: ArrivalProcess,
    *,
    rate: float | None,
    rng: np.random.Generator,
    requests: int | None = None,
    duration_s: float | None = None,
) -> Times:
    """Arrival times in seconds from 0: the first ``requests``, or all before ``duration_s``, or whichever ends first.

    ``rate`` in requests/s is the expected mean over the run; ``None`` takes the process's own. ``rng`` gives only the seed of
    the process's streams.

    Raises:
        InputError: no end is given, the rate is not positive, or the process has none of its own.
    """
    expected = rate if rate is not None else process.natural_rate
    if expected is None:
        raise InputError("arrivals: this process has no rate of its own; give a rate")
    if not (math.isfinite(expected) and expected > 0):
        raise InputError(f"arrivals: rate of {expected}/s; give a positive number of requests per second")
    if requests is not None and requests < 1:
        raise InputError(f"arrivals: {requests} requests; give at least 1")
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise InputError(f"arrivals: duration of {duration_s} s; give a positive time")
    seed = int(rng.integers(2**63))
    if duration_s is None:
        if requests is None:
            raise InputError("arrivals: they have no end; give a number of requests or a duration")
        return process.times(requests, seed, rate, requests / expected)
    mean = expected * duration_s
    n = int(mean + 8 * math.sqrt(mean) + 64)
    while True:
        if requests is not None:
            n = min(n, requests)
        times = process.times(n, seed, rate, duration_s)
        if times[-1] >= duration_s or n == requests:
            return times[: int(np.searchsorted(times, duration_s, side="left"))]
        n *= 2  # drawn anew from the same seed, so the arrivals found so far stay


# --- renewal processes: independent gaps ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent users: exponential gaps, CV 1."""

    natural_rate: float | None = None

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        return _renewal(self, generator(seed, "gaps").standard_exponential(n), rate)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gamma-distributed gaps with coefficient of variation ``cv`` (> 1 bursty, < 1 smooth)."""

    cv: float
    natural_rate: float | None = None

    def __post_init__(self) -> None:
        _positive_cv(self.cv)

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        shape = self.cv**-2
        return _renewal(self, generator(seed, "gaps").standard_gamma(shape, n) / shape, rate)


@dataclass(frozen=True, slots=True)
class Weibull:
    """Weibull-distributed gaps with coefficient of variation ``cv``."""

    cv: float
    natural_rate: float | None = None

    def __post_init__(self) -> None:
        _positive_cv(self.cv)

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        shape = weibull_shape(self.cv)
        gaps = generator(seed, "gaps").standard_exponential(n) ** (1 / shape) / math.gamma(1 + 1 / shape)
        return _renewal(self, gaps, rate)


@dataclass(frozen=True, slots=True)
class Even:
    """Equal gaps, the first arrival at 0."""

    natural_rate: float | None = None

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        return np.arange(n) / _rate(self, rate)


def weibull_shape(cv: float) -> float:
    """The Weibull shape whose coefficient of variation is ``cv``: CV^2 = G(1 + 2/k) / G(1 + 1/k)^2 - 1, which falls with k."""

    def too_bursty(shape: float) -> bool:
        return math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape) > math.log1p(cv * cv)

    low, high = 0.02, 1e3
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if too_bursty(middle) else (low, middle)
    return high


# --- bursts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bursts:
    """Bursts of requests with silence between them, as measured: size of a burst, gaps inside it, gaps after it (seconds).

    Another rate stretches all gaps alike. Sizes and gaps are independent of each other.
    """

    sizes: QuantileTable
    gaps_within_s: QuantileTable
    gaps_between_s: QuantileTable

    @property
    def natural_rate(self) -> float:
        size = self._size_of(np.arange(0.5, 20_000) / 20_000).mean()
        return float(size / ((size - 1) * self.gaps_within_s.mean + self.gaps_between_s.mean))

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        # A burst has at least one request, so n bursts always suffice; far fewer mostly do.
        bursts = min(n, 64 + int(2 * n / self.sizes.mean))
        starts = np.cumsum(self._size_of(generator(seed, "sizes").random(bursts)))
        while starts[-1] < n:
            bursts = min(n, 2 * bursts)
            starts = np.cumsum(self._size_of(generator(seed, "sizes").random(bursts)))
        gaps = self.gaps_within_s.at(generator(seed, "within").random(n))
        gaps[0] = 0.0
        starts = starts[: int(np.searchsorted(starts, n))]
        gaps[starts] = self.gaps_between_s.at(generator(seed, "between").random(len(starts)))
        times = np.cumsum(gaps)
        return times if rate is None else times * (self.natural_rate / rate)

    def _size_of(self, u: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.maximum(np.rint(self.sizes.at(u)), 1).astype(np.int64)


# --- rates that change: a unit-rate sequence bent by the inverse of the cumulative intensity --------------------------


@dataclass(frozen=True, slots=True)
class VaryingRate:
    """A rate profile: ``rates[i]`` requests/s for the i-th ``step_s`` seconds, then again from the start.

    The profile bends the time of ``within``, a unit-rate process (Poisson: exact; gamma or Weibull: a burstiness that keeps
    its CV while the rate moves; ServeGen, arXiv 2505.09999, section 4). Asking for another rate scales the profile so that its
    mean over the run is that rate; peaks stay where they are in time.
    """

    rates: tuple[float, ...]
    step_s: float
    within: ArrivalProcess = Poisson()

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates) < 0 or sum(self.rates) <= 0 or self.step_s <= 0:
            raise InputError("arrivals: a rate profile needs a positive step and rates of at least 0, not all of them 0")

    @property
    def natural_rate(self) -> float:
        return sum(self.rates) / len(self.rates)

    @property
    def period_s(self) -> float:
        return len(self.rates) * self.step_s

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        edges = np.arange(len(self.rates) + 1) * self.step_s
        expected = np.concatenate([[0.0], np.cumsum(np.asarray(self.rates) * self.step_s)])
        scale = 1.0
        if rate is not None:
            window = self.period_s if over_s is None else over_s
            periods, rest = divmod(window, self.period_s)
            mean = (periods * expected[-1] + float(np.interp(rest, edges, expected))) / window
            scale = rate / (mean if mean > 0 else self.natural_rate)
        periods_done, left = np.divmod(self.within.times(n, seed, 1.0, None) / scale, expected[-1])
        return np.asarray(periods_done * self.period_s + np.interp(left, expected, edges))


@dataclass(frozen=True, slots=True)
class OnOff:
    """Interrupted Poisson process: exponential on and off periods (means in seconds), ``off_rate`` of the on rate when off.

    The periods keep their lengths at every rate; only the intensity in them moves.
    """

    on_s: float
    off_s: float
    off_rate: float = 0.0
    natural_rate: float | None = None

    def __post_init__(self) -> None:
        if not (self.on_s > 0 and self.off_s > 0 and 0 <= self.off_rate < 1):
            raise InputError(
                f"arrivals: on for {self.on_s} s, off for {self.off_s} s with {self.off_rate} of the rate; "
                "give positive periods and a fraction of at least 0 and below 1"
            )

    def times(self, n: int, seed: int, rate: float | None, over_s: float | None) -> Times:
        unit = generator(seed, "gaps").standard_exponential(n).cumsum()
        cycle_s = self.on_s + self.off_s
        on_rate = _rate(self, rate) * cycle_s / (self.on_s + self.off_s * self.off_rate)
        cycles = 16 + int(1.2 * unit[-1] / (on_rate * self.on_s))
        while True:
            lengths = np.empty(2 * cycles)
            lengths[0::2] = generator(seed, "on").standard_exponential(cycles) * self.on_s
            lengths[1::2] = generator(seed, "off").standard_exponential(cycles) * self.off_s
            weights = np.tile([1.0, self.off_rate], cycles)
            expected = np.concatenate([[0.0], np.cumsum(lengths * weights)]) * on_rate
            if expected[-1] > unit[-1]:
                return np.asarray(np.interp(unit, expected, np.concatenate([[0.0], np.cumsum(lengths)])))
            cycles *= 2


def _rate(process: ArrivalProcess, rate: float | None) -> float:
    chosen = rate if rate is not None else process.natural_rate
    if chosen is None:
        raise InputError("arrivals: this process has no rate of its own; give a rate")
    return chosen


def _renewal(process: ArrivalProcess, unit_gaps: NDArray[np.float64], rate: float | None) -> Times:
    return np.cumsum(unit_gaps) / _rate(process, rate)


def _positive_cv(cv: float) -> None:
    if not (math.isfinite(cv) and cv > 0):
        raise InputError(f"arrivals: coefficient of variation of {cv}; give a positive number, or use equal gaps")
