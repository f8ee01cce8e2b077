"""Intervals that stay where their quantity can be, however few samples there are.

A ratio of sums ± t standard errors reaches below 0 where a handful of requests is all there is. Cut off at 0 it would still be
wrong: estimates that cannot be negative are skewed, and miss the truth on one side. The square root of such a quantity varies about
alike wherever the quantity is (Bartlett, Supplement to the Journal of the Royal Statistical Society 1936), and so does the arcsine
of the root of a share, as in ``traces.intervals`` of the ranks of quantiles. The interval is taken on that scale and carried back:

    (√v ± t · error / (2 √v))²        sin²(arcsin √p ± t · error / (2 √(p (1 − p))))

With a small error both are v ± t · error. ``tests/traces/test_bounds.py`` measures coverage from 4 to 60 events or samples.
"""

from __future__ import annotations

import math
from dataclasses import replace

from traces.intervals import Estimate, Floats, ratio

NONE_SEEN = -math.log(0.025)
"""Upper end of the exact 95 % interval of a Poisson count of which none was seen (Garwood, Biometrika 1936): 3.69 events."""


def ratio_above(numerators: Floats, denominators: Floats, n: int) -> Estimate:
    """``traces.intervals.ratio`` of sums that cannot be negative."""
    return not_negative(ratio(numerators, denominators, n))


def not_negative(estimate: Estimate) -> Estimate:
    """With a symmetric interval made one of a quantity that is 0 or more."""
    value, hi = estimate.value, estimate.hi
    if value is None or hi is None:
        return estimate
    if value <= 0:
        return replace(estimate, lo=0.0, hi=max(hi, 0.0))
    root, half = math.sqrt(value), (hi - value) / (2 * math.sqrt(value))
    low, high = max(0.0, root - half), root + half
    return replace(estimate, lo=low * low, hi=high * high)


def share_of_one(estimate: Estimate) -> Estimate:
    """With a symmetric interval made one of a quantity from 0 to 1."""
    value, hi = estimate.value, estimate.hi
    if value is None or hi is None:
        return estimate
    if not 0 < value < 1:
        return replace(estimate, lo=min(max(2 * value - hi, 0.0), 1.0), hi=min(max(hi, 0.0), 1.0))
    middle, half = math.asin(math.sqrt(value)), (hi - value) / (2 * math.sqrt(value * (1 - value)))
    return replace(estimate, lo=math.sin(max(0.0, middle - half)) ** 2, hi=math.sin(min(math.pi / 2, middle + half)) ** 2)


def none_per_second(seconds: float) -> Estimate:
    """The rate of events of which none happened in so many seconds."""
    return Estimate(0.0, 0.0, NONE_SEEN / seconds, 0)
