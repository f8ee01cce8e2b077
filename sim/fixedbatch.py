"""Engines without continuous batching that share GPUs: MaverIQ's world, for its figures.

Every engine serves its requests first come, first served, one batch at a time. Engines on one GPU share its time: where those that
are at work ask for more of a GPU than there is, all of them slow down in proportion, and an engine over several GPUs is as fast
as its slowest one. That is what the driver's time-slicing between processes gives at best (no overlap, no cost of switching);
``interference`` replaces it by what was measured.

A fluid simulation: between two events speeds are constant, events are arrivals and ends. All times in seconds.

Source: MaverIQ, arXiv 2501.13111: FIFO queues per model, fixed batch size, co-located models without isolation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Interference = Callable[[float], float]
"""Demand on a GPU (engines at work, each counting for the share of time that it works there alone) → by how much it slows down."""


@dataclass(frozen=True, slots=True)
class FixedBatchEngine:
    """``model``: index of the model that it serves. ``service_s``: of a request alone, of shape (outputs,), by output tokens, or
    one number for all. ``devices``: its GPUs. ``share``: of its time that it works on each, 1 / stages of a pipeline.
    """

    model: int
    service_s: float | Callable[[int], float]
    devices: Sequence[int]
    share: float = 1.0

    def seconds(self, output_tokens: int) -> float:
        return self.service_s(output_tokens) if callable(self.service_s) else self.service_s


class Served(NamedTuple):
    """Per request: when its service began and ended (NaN where no engine serves its model), and by which engine (−1)."""

    start_s: Floats
    end_s: Floats
    engine: NDArray[np.int64]


def time_slicing(demand: float) -> float:
    """No engine is slowed down while the GPU has time to spare; beyond, all are, in proportion."""
    return max(1.0, demand)


def serve(
    engines: Sequence[FixedBatchEngine],
    devices: int,
    arrival_s: ArrayLike,
    model: ArrayLike,
    output_tokens: ArrayLike,
    *,
    interference: Interference = time_slicing,
) -> Served:
    """Serves the requests (arrays of equal length, in order of arrival) to the end.

    Of several engines of a model, a request goes to the one with the fewest requests before it.

    Raises:
        ValueError: arrivals are not in order, or an engine names a device that is not there.
    """
    arrivals = np.asarray(arrival_s, np.float64)
    if (np.diff(arrivals) < 0).any():
        raise ValueError("arrivals must be in order")
    if any(not 0 <= device < devices for engine in engines for device in engine.devices):
        raise ValueError(f"an engine names a device beyond the {devices} there are")
    run = _Run(engines, devices, len(arrivals), interference)
    by_model: dict[int, list[int]] = {}
    for place, engine in enumerate(engines):
        by_model.setdefault(engine.model, []).append(place)
    models, outputs = np.asarray(model).tolist(), np.asarray(output_tokens).tolist()
    for row, time in enumerate(arrivals.tolist()):
        run.until(time)
        if places := by_model.get(models[row]):
            run.join(min(places, key=lambda place: len(run.queues[place])), row, outputs[row])
    run.until(float("inf"))
    return Served(run.start, run.end, run.by)


class _Run:
    """Queues, and the engines at work with what they have left to do."""

    def __init__(self, engines: Sequence[FixedBatchEngine], devices: int, requests: int, interference: Interference) -> None:
        self.engines = engines
        self.queues: list[deque[tuple[int, int]]] = [deque() for _ in engines]
        """The requests of each engine, the one in service first: (row, output tokens)."""
        self.start = np.full(requests, np.nan)
        self.end = np.full(requests, np.nan)
        self.by = np.full(requests, -1, np.int64)
        self._interference = interference
        self._now = 0.0
        self._left: dict[int, float] = {}
        self._speed: dict[int, float] = {}
        self._demand = [0.0] * devices

    def join(self, place: int, row: int, output: int) -> None:
        queue = self.queues[place]
        queue.append((row, output))
        self.by[row] = place
        if len(queue) == 1:
            self._begin(place)

    def until(self, time: float) -> None:
        """Carries on with what is in service up to a time."""
        while self._left:
            ends = {place: self._now + left / self._speed[place] for place, left in self._left.items()}
            first = min(ends, key=lambda place: (ends[place], place))
            if ends[first] > time:
                break
            self._advance(ends[first])
            self._finish(first)
        if time != float("inf"):
            self._advance(time)

    def _advance(self, time: float) -> None:
        for place in self._left:
            self._left[place] -= (time - self._now) * self._speed[place]
        self._now = time

    def _begin(self, place: int) -> None:
        row, output = self.queues[place][0]
        engine = self.engines[place]
        self.start[row] = self._now
        self._left[place] = engine.seconds(output)
        self._press(engine, engine.share)

    def _finish(self, place: int) -> None:
        row, _ = self.queues[place].popleft()
        self.end[row] = self._now
        del self._left[place]
        engine = self.engines[place]
        self._press(engine, -engine.share)
        if self.queues[place]:
            self._begin(place)

    def _press(self, engine: FixedBatchEngine, share: float) -> None:
        """More or less demand on an engine's GPUs; the speeds of all that are at work."""
        for device in engine.devices:
            self._demand[device] += share
        slow = [self._interference(demand) for demand in self._demand]
        self._speed = {place: 1.0 / max(slow[d] for d in self.engines[place].devices) for place in self._left}
