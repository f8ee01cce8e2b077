"""Time in the real world: seconds since the run's start, by the wall, by a core or made up, and the order of what happens at one
instant.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from typing import Protocol


class Turn(IntEnum):
    """At one instant: engines end their steps, come up or fail, are observed, requests arrive, the fleet is scaled, held requests
    are offered again, engines start steps.

    The same order as in the simulator, so that a request that arrives at the very end of a step is part of the next one.
    """

    STEP_END = 0
    FLEET = 1
    OBSERVE = 2
    ARRIVAL = 3
    SCALE = 4
    ROUTE = 5
    STEP_START = 6


class Clock(Protocol):
    """What a run is timed by."""

    def now(self) -> float:
        """Seconds since the run's start."""

    def call_at(self, time_s: float, turn: Turn, action: Callable[[], None]) -> None:
        """Call ``action`` at a time; as soon as possible when that has passed."""

    def hold(self) -> None:
        """Let ``now`` stand still until ``go_on``: a policy that is asked, and the log of its answer, know one time only."""

    def go_on(self) -> None: ...


class _Agenda:
    """Actions by time, then turn, then in the order in which they were called for: the order is total."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, Callable[[], None]]] = []
        self._serial = count()

    def call_at(self, time_s: float, turn: Turn, action: Callable[[], None]) -> None:
        heappush(self._heap, (time_s, turn, next(self._serial), action))

    @property
    def idle(self) -> bool:
        """Nothing is called for any more."""
        return not self._heap

    @property
    def next_s(self) -> float:
        """When the next action is due; ``inf`` when idle."""
        return self._heap[0][0] if self._heap else float("inf")


class VirtualClock(_Agenda):
    """Time that passes only from one action to the next."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.events = 0
        """Actions so far."""

    def now(self) -> float:
        return self._now

    def hold(self) -> None:
        pass

    def go_on(self) -> None:
        pass

    def stop(self) -> None:
        """Let ``play`` end with the present action: whatever else is called for does not happen."""
        self._heap.clear()

    def play(self, until_s: float = float("inf"), watch: Callable[[], None] | None = None, every: int = 2_000) -> None:
        """Act up to and including ``until_s``, calling ``watch`` after every ``every`` actions."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            self._now, _, _, action = heappop(heap)
            action()
            self.events += 1
            if watch is not None and self.events % every == 0:
                watch()
        if heap:
            self._now = until_s


class WallClock(_Agenda):
    """The machine's monotonic clock, from ``epoch_s`` on; all processes of one host can share the epoch.

    Whoever owns the loop calls ``act`` often.
    """

    def __init__(self, epoch_s: float | None = None) -> None:
        super().__init__()
        self.epoch_s = self._read() if epoch_s is None else epoch_s
        self._held_s: float | None = None

    def _read(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return self._read() - self.epoch_s if self._held_s is None else self._held_s

    def restart(self) -> None:
        """It is second 0 again."""
        self.epoch_s = self._read()

    def wait(self, seconds: float) -> None:
        """Let so much time go by."""
        time.sleep(seconds)

    def hold(self) -> None:
        self._held_s = self.now()

    def go_on(self) -> None:
        self._held_s = None

    def act(self) -> bool:
        """Carry out all that is due; returns whether anything was."""
        heap, acted = self._heap, False
        while heap and heap[0][0] <= self.now():
            heappop(heap)[3]()
            acted = True
        return acted


class CoreClock(WallClock):
    """Goes on while this thread has a core: what its work takes on a machine that has nothing else to do. Waiting is skipped."""

    def __init__(self) -> None:
        self._skipped_s = 0.0
        super().__init__()

    def _read(self) -> float:
        return time.thread_time() + self._skipped_s

    def wait(self, seconds: float) -> None:
        self._skipped_s += seconds
