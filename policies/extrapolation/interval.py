"""How far an extrapolation may be off: prediction intervals from the errors on models that were left out of the calibration.

A model's whole runs, predicted by constants that other models gave, are off by as much as a new model's will be: leave-one-out
residuals, pooled over models, by the number of ranks that sum (links are what the constants know least). The interval around a
prediction is the prediction times their quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.extrapolation.architecture import Architecture
from policies.extrapolation.hardware import Hardware
from policies.extrapolation.memory import MemoryUse
from policies.extrapolation.runs import Runs

Floats = NDArray[np.float64]

LEVELS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
"""Probabilities at which the residuals' distribution is kept; linear in between, and no further out."""
LEAST = 20
"""Residuals below which a number of ranks has no distribution of its own: it is given that of all."""


class Interval(NamedTuple):
    """Arrays of shape (n,), in the unit of what is predicted. NaN where the constants do not reach."""

    mean: Floats
    lo: Floats
    hi: Floats


@dataclass(frozen=True)
class Residuals:
    """log(measured / predicted) of runs that were left out, at ``LEVELS``: of all; by number of ranks where there are enough."""

    of_all: tuple[float, ...]
    by_ranks: Mapping[int, tuple[float, ...]]

    @classmethod
    def of(cls, logs: Floats, ranks: NDArray[np.int64]) -> Residuals:
        """From arrays of shape (n,). The i-th smallest of n stands for probability i / (n + 1): few residuals reach less far.

        Raises:
            ValueError: fewer than ``LEAST`` residuals.
        """
        if len(logs) < LEAST:
            raise ValueError(f"{len(logs)} residuals tell no interval; give {LEAST} or more")
        own = {int(n): logs[ranks == n] for n in np.unique(ranks) if int((ranks == n).sum()) >= LEAST}
        return cls(_quantiles(logs), {n: _quantiles(part) for n, part in own.items()})

    def around(self, predicted: Floats, ranks: NDArray[np.int64], level: float = 0.9) -> Interval:
        """The central interval that holds a share ``level`` of what is measured.

        Raises:
            ValueError: ``level`` is beyond what ``LEVELS`` tell.
        """
        if not 0 < level <= 1 - 2 * LEVELS[0]:
            raise ValueError(f"level is {level}; give a share of at most {1 - 2 * LEVELS[0]:g}")
        ends = {n: np.interp([(1 - level) / 2, (1 + level) / 2], LEVELS, q) for n, q in [(0, self.of_all), *self.by_ranks.items()]}
        low, high = np.exp([ends[n if n in ends else 0] for n in ranks.tolist()]).T
        return Interval(predicted, predicted * low, predicted * high)


@dataclass(frozen=True)
class Extrapolation:
    """Latency and memory of every deployment, with intervals. ``hardware``, ``memory``: the constants."""

    hardware: Hardware
    memory: MemoryUse
    latency_residuals: Residuals
    memory_residuals: Residuals

    def latency_s(self, architecture: Architecture, runs: Runs, level: float = 0.9) -> Interval:
        """Seconds from the request to its last token."""
        return self.latency_residuals.around(self.hardware.latency(architecture, runs).total_s, runs.tp, level)

    def memory_bytes(self, architecture: Architecture, runs: Runs, level: float = 0.9) -> Interval:
        """Bytes over all GPUs after the run."""
        return self.memory_residuals.around(self.memory.total_bytes(architecture, runs), runs.tp, level)


def _quantiles(logs: Floats) -> tuple[float, ...]:
    return tuple(float(f"{v:.4g}") for v in np.quantile(logs, LEVELS, method="weibull"))
