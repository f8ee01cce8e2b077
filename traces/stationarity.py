"""Does a run have a steady state, and is the measured window within it?

Three things spoil averages over time. A fleet that gets more than it can serve has no steady state at all: its queue, or the number
of requests under way, grows until the run ends. A fleet that starts empty needs a while to fill, and its prefix caches a longer.
And one that gets no more requests empties: the last requests finish among fewer others than a steady state would hold.

How often these tests are right is measured by ``python -m benchmarks.overload``, on fleets that they were not tuned on, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from traces.intervals import error_of_sum
from traces.slices import Floats

_PARTS = 32
_ONE_SIDED = 1.645
_SAFETY = 1.96  # 1.28 would do, were the error known; that of a queue which hits zero now and then is told too small
_LEAST_GAIN = 10
_NOTABLE = 0.05
_CROWD_FACTOR = 1.5
_STAYS, _STAYS_TO_FILL = 3.0, 10.0
_POINTS = 400
_BATCHES = 20
_EMPTIER = 0.3
_SHIFT = 0.5


def under_way(arrival_s: Floats, gone_s: Floats, times_s: Floats) -> Floats:
    """Requests that have arrived and are not gone at each time. ``gone_s``: NaN = never."""
    here = np.searchsorted(np.sort(arrival_s), times_s, "right") - np.searchsorted(np.sort(gone_s), times_s, "right")
    return here.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Growth:
    """How a number of requests changed while requests arrived.

    ``early``, ``late``: its mean over the first and the last quarter of the time looked at. ``share``: what it gained, per arrival;
    at load ρ > 1 that is 1 − 1/ρ. ``error``: standard error of ``share``; ``gain``: in requests. ``may_fill``: whether a fleet that
    keeps up may grow as much while it fills.
    """

    early: float
    late: float
    gain: float
    share: float
    error: float
    may_fill: bool = False

    @property
    def shown(self) -> bool:
        """Whether it is more than luck does in one of 20 runs without a trend, and more than a handful."""
        return self.gain > _LEAST_GAIN and self.share > _ONE_SIDED * self.error

    @property
    def open(self) -> bool:
        """Whether it is not shown, but may be more than a twentieth of the arrivals."""
        return not self.shown and self.gain > _LEAST_GAIN and self.share + _ONE_SIDED * self.error > _NOTABLE

    @property
    def least_overload(self) -> float:
        """The overload (ρ − 1) that a run like this one shows nine times in ten: infinite where luck can do anything."""
        share = (_ONE_SIDED + _SAFETY) * self.error
        return share / (1 - share) if share < 1 else math.inf


def queue_growth(arrival_s: Floats, scheduled_s: Floats, end_s: float) -> Growth | None:
    """Of the queue; ``None`` when there are too few arrivals to tell. ``scheduled_s``: NaN = never.

    A queue that is not served as fast as it is joined grows by 1 − 1/ρ of the arrivals, give or take their luck and that of their
    lengths. That luck is read off the queue itself: the standard error of its gain is that of the sum of its changes over
    equal parts of the run, corrected for their correlation (``traces.intervals.error_of_sum``). The queue of a fleet that keeps
    up falls back after each rise, so that its gain stays far below that error.
    """
    return _growth(arrival_s, scheduled_s, end_s, 1 / 8)


def crowd_growth(arrival_s: Floats, gone_s: Floats, end_s: float) -> Growth | None:
    """Of the requests under way, over the last two thirds of the arrivals; ``None`` where that cannot tell overload.

    An engine that takes whatever comes into its batch gets slower long before a queue forms. Of a run that is shorter than three
    times what its first requests took nothing is said: it may be no more than filling. Nor unless half as many again are under way
    at the end: a crowd has more reasons to change than a queue. Near its limit such a fleet fills slowly, too, as all get slower
    with each request that joins: below ten times what the first took, growth is overload or filling, and no run can tell which.
    """
    last_s = min(arrival_s.max(initial=0.0), end_s)
    if not len(arrival_s):
        return None
    stays = (last_s - arrival_s.min()) / max(_first_stay_s(arrival_s, gone_s, last_s), 1e-9)
    if stays < _STAYS:
        return None
    growth = _growth(arrival_s, gone_s, end_s, 1 / 3)
    if growth is None or growth.late <= _CROWD_FACTOR * max(growth.early, 1):
        return None
    return replace(growth, may_fill=bool(stays < _STAYS_TO_FILL))


def _growth(arrival_s: Floats, until_s: Floats, end_s: float, skip: float) -> Growth | None:
    """Of the number of requests between arrival and ``until_s``, after the first ``skip`` of the span of the arrivals."""
    arrivals = arrival_s[arrival_s <= end_s]
    if len(arrivals) < 2 * _PARTS:
        return None
    first, last = float(arrivals.min()), float(arrivals.max())
    begin = first + skip * (last - first)
    count = int((arrivals > begin).sum())
    if not count:
        return None
    here = under_way(arrivals, until_s, np.linspace(begin, last, _PARTS + 1))
    change = np.diff(here)
    gain = float(here[-1] - here[0])
    error, _ = error_of_sum(change - change.mean())
    quarter = _PARTS // 4
    return Growth(float(here[1 : quarter + 1].mean()), float(here[-quarter:].mean()), gain, gain / count, error / count)


def _first_stay_s(arrival_s: Floats, gone_s: Floats, end_s: float) -> float:
    """How long the first quarter of the arrivals stayed on average, as far as seen until ``end_s``."""
    first = np.argsort(arrival_s)[: -(-len(arrival_s) // 4)]
    return float((np.fmin(gone_s[first], end_s) - arrival_s[first]).mean())


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


@dataclass(frozen=True, slots=True)
class ColdCache:
    """Prefix caches that were still filling. ``early``, ``late``: share of prompt tokens found in them, in the first quarter of the
    window and in its second half; ``until_s``: when what they lacked no longer added up.
    """

    early: float
    late: float
    until_s: float


def cold_cache(arrival_s: Floats, prompt_tokens: Floats, cached_tokens: Floats, start_s: float, end_s: float) -> ColdCache | None:
    """Of requests that were scheduled; ``None`` where caches show no sign of having been filling in [``start_s``, ``end_s``).

    They were filling if the first quarter found less in them than luck explains in one of 20 runs, and so much less that a prompt
    had at least a twentieth more left to compute. Luck is told from the second half, where they are full.
    """
    part = np.minimum((arrival_s - start_s) / (end_s - start_s) * _PARTS, _PARTS - 1).astype(np.int64)
    hits, tokens = (np.bincount(part, of, _PARTS) for of in (cached_tokens, prompt_tokens))
    first, second = slice(_PARTS // 4), slice(_PARTS // 2, None)
    if not tokens[first].all() or not tokens[second].all():
        return None
    early, late = (float(hits[of].sum() / tokens[of].sum()) for of in (first, second))
    luck, _ = error_of_sum(hits[second] - late * tokens[second])
    error = luck / tokens[second].sum() * math.sqrt(1 + tokens[second].sum() / tokens[first].sum())
    if late - early <= max(_ONE_SIDED * error, _NOTABLE * (1 - late)):
        return None
    lacked = np.cumsum(late * tokens - hits)[: _PARTS // 2]
    return ColdCache(early, late, start_s + (end_s - start_s) * (int(lacked.argmax()) + 1) / _PARTS)


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
