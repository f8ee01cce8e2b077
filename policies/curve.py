"""The two shapes that step times are made of: a curve over a count, and a bundle of lines over the KV tokens read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A piecewise linear, non-decreasing function through ``(x, y)``: 0 at x = 0 (no work, no time), flat up to the first
    breakpoint, and beyond the last one a continuation of the last segment.

    Raises:
        ValueError: x not strictly increasing from at least 1, or y negative, decreasing or not finite; the row is named.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_counts(self.x, len(self.y))
        _check_rising(self.x, self.y)

    @cached_property
    def _slopes(self) -> list[float]:
        return [(y1 - y0) / (x1 - x0) for x0, x1, y0, y1 in zip(self.x, self.x[1:], self.y, self.y[1:], strict=False)]

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats]:
        return np.array(self.x, float), np.array(self.y, float)

    def at(self, x: float) -> float:
        """The value at one point."""
        if x <= self.x[0]:
            return self.y[0] if x > 0 else 0.0
        i = bisect_right(self.x, x, 1, len(self.x) - 1) - 1
        return self._slopes[i] * (x - self.x[i]) + self.y[i]

    def many(self, x: Floats) -> Floats:
        """The values at an array of points."""
        xs, ys = self._arrays
        y = np.interp(x, xs, ys)
        if len(x) and x.max() > xs[-1]:
            y += self._slopes[-1] * np.maximum(x - xs[-1], 0.0)
        return np.where(x > 0, y, 0.0)

    def __add__(self, other: Curve) -> Curve:
        x = np.union1d(self.x, other.x)
        return Curve(tuple(x.tolist()), tuple((self.many(x) + other.many(x)).tolist()))

    def to_dict(self) -> dict[str, list[float]]:
        return {"x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curve:
        return cls(_floats(data, "x"), _floats(data, "y"))

    @classmethod
    def proportional(cls, slope: float) -> Curve:
        """``slope`` × x."""
        return cls((1.0, 2.0), (slope, 2 * slope))


@dataclass(frozen=True)
class Lines:
    """For each number of requests a line in the KV tokens that they read together: ``fixed`` + ``per_context`` × tokens.

    Between the measured numbers of ``requests`` both coefficients are linear in it, so lines that do not cross at the measured
    numbers cross nowhere. Below the first the first line holds, beyond the last ``fixed`` continues and ``per_context`` stays.

    Raises:
        ValueError: requests not increasing from at least 1, a coefficient negative, not finite, or ``fixed`` decreasing.
    """

    requests: tuple[float, ...]
    fixed: tuple[float, ...]
    per_context: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_counts(self.requests, len(self.fixed))
        _check_rising(self.requests, self.fixed, "fixed")
        if len(self.per_context) != len(self.requests):
            raise ValueError(f"{len(self.per_context)} values of per_context for {len(self.requests)} of requests")
        for row, slope in enumerate(self.per_context):
            if not 0 <= slope < float("inf"):
                raise ValueError(f"row {row}: per_context is {slope}; give a finite number of seconds, not negative")

    @cached_property
    def _curve(self) -> Curve:
        return Curve(self.requests, self.fixed)

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats]:
        return np.array(self.requests, float), np.array(self.per_context, float)

    def at(self, requests: float, context: float) -> float:
        """The value for so many requests that read ``context`` KV tokens in all."""
        fixed, per_context = self.line(requests)
        return fixed + per_context * context

    def line(self, requests: float) -> tuple[float, float]:
        """``(fixed, per_context)`` of so many requests; both 0 of none."""
        x = self.requests
        if requests <= x[0]:
            return (self.fixed[0], self.per_context[0]) if requests > 0 else (0.0, 0.0)
        i = bisect_right(x, requests) - 1
        rise, bend = self._slopes
        more = requests - x[i]
        return self.fixed[i] + rise[i] * more, self.per_context[i] + bend[i] * more

    @cached_property
    def _slopes(self) -> tuple[list[float], list[float]]:
        """Of both coefficients from each number of requests on."""
        spans = [(i, j, b - a) for (i, a), (j, b) in pairwise(enumerate(self.requests))]
        rise = [(self.fixed[j] - self.fixed[i]) / span for i, j, span in spans]
        bend = [(self.per_context[j] - self.per_context[i]) / span for i, j, span in spans]
        return [*rise, rise[-1]], [*bend, 0.0]

    def many(self, requests: Floats, context: Floats) -> Floats:
        """The values for arrays of equal length."""
        fixed, slope = self.coefficients(requests)
        return fixed + slope * context

    def coefficients(self, requests: Floats) -> tuple[Floats, Floats]:
        """``(fixed, per_context)`` at an array of numbers of requests; both 0 at 0."""
        return self._curve.many(requests), np.where(requests > 0, np.interp(requests, *self._arrays), 0.0)

    def crossing(self) -> float:
        """The KV tokens in all up to which more requests never take less time; infinite where the lines do not cross."""
        fixed, slope = np.array(self.fixed), np.array(self.per_context)
        falls = np.flatnonzero(np.diff(slope) < 0)
        return float(np.min(np.diff(fixed)[falls] / -np.diff(slope)[falls])) if len(falls) else float("inf")

    def to_dict(self) -> dict[str, list[float]]:
        return {"requests": list(self.requests), "fixed": list(self.fixed), "per_context": list(self.per_context)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Lines:
        return cls(_floats(data, "requests"), _floats(data, "fixed"), _floats(data, "per_context"))

    @classmethod
    def proportional(cls, per_context: float) -> Lines:
        """``per_context`` × KV tokens, whatever the number of requests."""
        return cls((1.0, 2.0), (0.0, 0.0), (per_context, per_context))


def _floats(data: Mapping[str, Any], key: str) -> tuple[float, ...]:
    if key not in data:
        raise ValueError(f"{key} is missing")
    return tuple(map(float, data[key]))


def _check_counts(x: tuple[float, ...], values: int) -> None:
    if len(x) < 2 or len(x) != values:
        raise ValueError(f"needs at least two rows, and a y for each x; got {len(x)} x and {values} y")
    for row, (before, here) in enumerate(zip((1 - 1e-9, *x), x, strict=False)):
        if not before < here < float("inf"):
            raise ValueError(f"row {row}: x must increase from 1 or more; got {here} after {before:g}")


def _check_rising(x: tuple[float, ...], y: tuple[float, ...], name: str = "y") -> None:
    for row, (before, here) in enumerate(zip((0.0, *y), y, strict=False)):
        if not 0 <= here < float("inf"):
            raise ValueError(f"row {row} (x = {x[row]:g}): {name} is {here}; give a finite number of seconds, not negative")
        if here < before:
            raise ValueError(
                f"row {row} (x = {x[row]:g}): {name} falls from {before:g} to {here:g} s; more work never takes less time"
            )
