"""A distribution known by its quantiles: what public traces publish, and what generators draw from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError


@dataclass(frozen=True)
class QuantileTable:
    """Quantiles of a positive quantity, interpolated between the levels given.

    ``percent``: levels in percent, increasing, from 0 to 100. ``values``: the quantity there, positive, never falling.
    ``log``: interpolate the value's logarithm (right for long tails: a straight line between p99 and the maximum
    would put most of the mean there) or the value itself.

    Raises:
        InputError: the table is not one.
    """

    percent: tuple[float, ...]
    values: tuple[float, ...]
    log: bool = True
    _levels: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _knots: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        levels, values = np.asarray(self.percent, np.float64) / 100, np.asarray(self.values, np.float64)
        if len(levels) != len(values) or len(levels) < 2:
            raise InputError(f"quantiles: {len(levels)} levels and {len(values)} values; give two or more of each, as many")
        if levels[0] != 0 or levels[-1] != 1 or (np.diff(levels) <= 0).any():
            raise InputError(f"quantiles: levels {self.percent} do not rise from 0 to 100; include both ends")
        if not (np.isfinite(values).all() and values[0] > 0 and (np.diff(values) >= 0).all()):
            raise InputError(f"quantiles: values {self.values} are not positive and rising; check their order")
        object.__setattr__(self, "_levels", levels)
        object.__setattr__(self, "_knots", np.log(values) if self.log else values)

    def at(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The quantile function at ranks ``u`` in [0, 1]; with uniform ``u`` this is a draw."""
        knots = np.interp(u, self._levels, self._knots)
        return np.exp(knots) if self.log else knots

    @property
    def mean(self) -> float:
        """The exact mean of what ``at`` draws."""
        low, high = self._knots[:-1], self._knots[1:]
        if not self.log:
            return float(np.diff(self._levels) @ ((low + high) / 2))
        width = high - low
        flat = width < 1e-9
        # The mean of exp over a segment is the logarithmic mean of its ends.
        segment = np.exp(low) * np.where(flat, 1.0, np.expm1(width) / np.where(flat, 1.0, width))
        return float(np.diff(self._levels) @ segment)
