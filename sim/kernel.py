"""The clock: SimPy's environment with alarms that can be moved, and a fixed order of what happens at one instant."""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import Event, EventPriority, Process

Bell = Event
"""What a process waits on. It rings as often as it is scheduled; a process waits on one that is not, or not yet."""

STEP_END, FLEET, OBSERVE, ARRIVAL, SCALE, ROUTE, STEP_START = map(EventPriority, range(7))
"""At one instant: engines end their steps; engines come up or fail, KV arrives; engines are observed, requests arrive, the fleet is
scaled, held requests are offered again; then engines start steps. A request that arrives at the very boundary of a step is
therefore part of the next step, whichever engine or order."""


class _Life(Process):
    """A process that waits on bells alone: they do not fail and nobody interrupts it, so that none of that is looked at whenever it
    goes on. What goes wrong in it ends the run at once.
    """

    def _resume(self, event: Event) -> None:
        try:
            bell = self._generator.send(None)
        except StopIteration:
            self.succeed()
        else:
            bell.callbacks.append(self._resume)


class Kernel(simpy.Environment):
    """SimPy's environment and event queue; entries are ``(time, priority, serial, event)``, so the order is total."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.events = 0
        """Events processed so far."""

    def bell(self) -> Event:
        """An event that no one has scheduled yet."""
        return Event(self)

    def ring_at(self, bell: Event, time: float, priority: EventPriority) -> None:
        """Schedule ``bell`` at an absolute time."""
        heappush(self._queue, (time, priority, next(self._eid), bell))

    def silenced(self, bell: Event) -> Event:
        """A new bell, not scheduled yet, for whoever waits on ``bell``, which falls silent."""
        fresh = Event(self)
        fresh.callbacks, bell.callbacks = bell.callbacks, []
        return fresh

    def moved(self, bell: Event, time: float, priority: EventPriority) -> Event:
        """A new bell that rings at ``time`` for whoever waits on ``bell``, which falls silent."""
        fresh = self.silenced(bell)
        self.ring_at(fresh, time, priority)
        return fresh

    def call_at(self, time: float, priority: EventPriority, action: Callable[[Event], None]) -> None:
        """Call ``action`` at an absolute time."""
        bell = Event(self)
        bell.callbacks.append(action)
        self.ring_at(bell, time, priority)

    def start(self, generator: Generator[Event, Any, Any]) -> None:
        """Make a SimPy process of ``generator`` and run it up to its first ``yield`` when the clock starts."""
        _Life(self, generator)

    def stop(self) -> None:
        """Let ``play`` end with the present event: whatever is still scheduled does not happen."""
        self._queue.clear()

    @property
    def idle(self) -> bool:
        """True when nothing is scheduled any more."""
        return not self._queue

    @property
    def instant_over(self) -> bool:
        """True when nothing else is scheduled for the present instant."""
        return not self._queue or self._queue[0][0] > self._now

    def play(self, until: float, watch: Callable[[], None] | None = None, every: int = 20_000) -> None:
        """Process events up to and including time ``until``, calling ``watch`` after every ``every`` events.

        Ends at ``until``, or at the last event when there is no further one. The same loop as ``simpy.Environment.run``, without
        a function call per event.
        """
        queue = self._queue
        while queue and queue[0][0] <= until:
            for _ in range(every):
                self._now, _, _, event = heappop(queue)
                callbacks, event.callbacks = event.callbacks, []
                for callback in callbacks:
                    callback(event)
                self.events += 1
                if not queue or queue[0][0] > until:
                    break
            if watch is not None:
                watch()
        if queue:
            self._now = until
