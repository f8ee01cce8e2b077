"""Does a run have a steady state, and is the measured window within it?

Three things spoil averages over time. A fleet that gets more than it can serve has no steady state at all: its queue, or the number
of requests under way, grows until the run ends. A fleet that starts empty needs a while to fill. And one that gets no more requests
empties: the last requests finish among fewer others than a steady state would hold.

How often these tests are right is measured by ``python -m benchmarks.overload``, on fleets that they were not tuned on, too.
"""

from __future__ import annotations

import math

import numpy as np

from traces.slices import Floats

_QUEUE_GROWTH = 0.02
_CROWD_GROWTH = 0.04
_CROWD_FACTOR = 1.5
_GROWTH_REQUESTS = 10
_STAYS = 3.0
_POINTS = 400
_BATCHES = 20
_EMPTIER = 0.3
_SHIFT = 0.5


def under_way(arrival_s: Floats, gone_s: Floats, times_s: Floats) -> Floats:
    """Requests that have arrived and are not gone at each time. ``gone_s``: NaN = never."""
    here = np.searchsorted(np.sort(arrival_s), times_s, "right") - np.searchsorted(np.sort(gone_s), times_s, "right")
    return here.astype(np.float64)


def queue_growth(arrival_s: Floats, scheduled_s: Floats, end_s: float) -> tuple[float, float] | None:
    """Requests waiting in the first and the last quarter of the second half of the arrivals, if a queue builds up; else ``None``.

    A queue builds up if it is longer in each quarter than in the one before and gains more than 2 % of the arrivals, and more
    than ten requests. ``scheduled_s``: NaN = never.
    """
    quarters, arrivals = _quarters(arrival_s, scheduled_s, end_s, 1 / 2)
    growth = (quarters[3] - quarters[0]) * 4 / 3
    if (np.diff(quarters) > 0).all() and growth > max(_GROWTH_REQUESTS, _QUEUE_GROWTH * arrivals):
        return float(quarters[0]), float(quarters[3])
    return None


def crowd_growth(arrival_s: Floats, gone_s: Floats, end_s: float) -> tuple[float, float] | None:
    """Requests under way in the first and the last quarter of the last two thirds of the arrivals, if they become ever more.

    An engine that takes whatever comes into its batch gets slower long before a queue forms. They become ever more if the first
    quarter has the fewest and the last the most, half as many again, and a gain of more than 4 % of the arrivals, and of ten. Of a
    run that is shorter than three times what its first requests took nothing is said: it may be no more than filling.
    """
    last_s = min(arrival_s.max(initial=0.0), end_s)
    if not len(arrival_s) or _STAYS * _first_stay_s(arrival_s, gone_s, last_s) > last_s - arrival_s.min():
        return None
    quarters, arrivals = _quarters(arrival_s, gone_s, end_s, 1 / 3)
    growth = (quarters[3] - quarters[0]) * 4 / 3
    ordered = quarters.argmin() == 0 and quarters.argmax() == 3
    if ordered and quarters[3] > _CROWD_FACTOR * max(quarters[0], 1) and growth > max(_GROWTH_REQUESTS, _CROWD_GROWTH * arrivals):
        return float(quarters[0]), float(quarters[3])
    return None


def _first_stay_s(arrival_s: Floats, gone_s: Floats, end_s: float) -> float:
    """How long the first quarter of the arrivals stayed on average, as far as seen until ``end_s``."""
    first = np.argsort(arrival_s)[: -(-len(arrival_s) // 4)]
    return float((np.fmin(gone_s[first], end_s) - arrival_s[first]).mean())


def _quarters(arrival_s: Floats, until_s: Floats, end_s: float, skip: float) -> tuple[Floats, int]:
    """Mean number of requests between arrival and ``until_s`` in four parts of the arrivals' span, its first ``skip`` left out."""
    arrivals = arrival_s[arrival_s <= end_s]
    if not len(arrivals):
        return np.zeros(4), 0
    first, last = float(arrivals.min()), float(arrivals.max())
    begin = first + skip * (last - first)
    times = np.linspace(begin, last, 33)[1:]
    return under_way(arrivals, until_s, times).reshape(4, 8).mean(axis=1), int((arrivals > begin).sum())


def filling_s(arrival_s: Floats, gone_s: Floats, start_s: float, end_s: float) -> float | None:
    """When the fleet had filled, if [``start_s``, ``end_s``) begins before that and averages over it suffer; else ``None``.

    It has filled when first as many requests are under way as on average in the second half. It was filling until then if on
    average at least 30 % fewer were; averages suffer if that moves the mean number by more than half its standard error.
    """
    times = np.linspace(start_s, end_s, _POINTS + 1)[1:]
    here = under_way(arrival_s, gone_s, times)
    later = here[_POINTS // 2 :]
    level = float(later.mean())
    until = int(np.argmax(here >= level))
    if until == 0:
        return None
    missing = level - float(here[:until].mean())
    error = _standard_error(later) / math.sqrt(2)  # of the mean over all of the window
    if missing < _EMPTIER * level or missing * until / _POINTS <= _SHIFT * error:
        return None
    return float(times[until])


def first_wave_s(arrival_s: Floats, gone_s: Floats, share: float = 0.01) -> tuple[int, float] | None:
    """How many requests came at the very first instant, and when the last of them was gone; ``None`` if they are no more than
    ``share`` of all, or all. That is how closed loops begin, and it happens once.
    """
    wave = arrival_s == arrival_s.min(initial=math.inf)
    size = int(wave.sum())
    if size <= max(1.0, share * len(arrival_s)) or size == len(arrival_s) or np.isnan(gone_s[wave]).any():
        return None
    return size, float(gone_s[wave].max())


def _standard_error(x: Floats) -> float:
    """Of a mean, by batch means."""
    means = x[: len(x) // _BATCHES * _BATCHES].reshape(_BATCHES, -1).mean(axis=1)
    return float(means.std(ddof=1)) / math.sqrt(_BATCHES)
