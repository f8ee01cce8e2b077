"""Where requests come from: the workload's arrivals, at their times by the run's clock, and closed loops.

The load is open-loop: it never waits for an engine, and says of every request how late it was sent.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from replay.clock import Clock, Turn
from replay.request import Request
from traces.workload import RequestClass, Workload

AHEAD = 256
"""Requests that are made ready before they are due, while there is nothing else to do."""
_LAG_ALLOWED_S = 0.010
_LAG_ALLOWED_OF_TTFT = 0.01


class Load:
    """Sends a workload's requests to ``dispatch``.

    ``concurrency``: class code → how many requests of that class are under way at any time; the arrival times of such a class only
    give the order. ``until_s``: no request is sent at or after it. ``prepare``: what can be done for a request before it is due.
    """

    def __init__(
        self,
        clock: Clock,
        workload: Workload,
        dispatch: Callable[[Request], None],
        *,
        concurrency: Mapping[int, int] | None = None,
        until_s: float = float("inf"),
        prepare: Callable[[Request], None] | None = None,
    ) -> None:
        self._clock = clock
        self._workload = workload
        self._dispatch = dispatch
        self._until_s = until_s
        self._prepare = prepare
        self._loops = concurrency or {}
        closed = np.isin(workload.klass, list(self._loops))
        self._rows: list[int] = np.flatnonzero(~closed & (workload.arrival_s < until_s)).tolist()
        self._next = 0
        self._ready: deque[Request] = deque()
        self._queues = {code: deque(np.flatnonzero(workload.klass == code).tolist()) for code in self._loops}
        self._called = 0
        """Requests of closed loops that are about to be sent."""
        self._over = False
        self.sent = 0
        self.lag_s = array("d")
        """Of each open-loop request: from its intended time until it was on its way, routing and writing included."""

    def start(self) -> None:
        """Begin; called once, at the run's start."""
        self._await_next()
        for code, width in self._loops.items():
            for _ in range(min(width, len(self._queues[code]))):
                self._call_next(code)

    def make_ready(self) -> bool:
        """Prepare one more of the requests that are to come; False if enough of them are ready."""
        ahead = self._next + len(self._ready)
        if self._prepare is None or len(self._ready) >= AHEAD or ahead >= len(self._rows):
            return False
        request = self._request(self._rows[ahead])
        self._prepare(request)
        self._ready.append(request)
        return True

    def on_done(self, request: Request) -> None:
        """A request is done: its class's loop, if it has one, sends the next."""
        if self._queues.get(request.klass_code):
            self._call_next(request.klass_code)

    def stop(self) -> None:
        """Send nothing more."""
        self._over = True

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing left to send."""
        if self._over or self._clock.now() >= self._until_s:
            return True
        return self._next == len(self._rows) and not (self._called or any(self._queues.values()))

    def _await_next(self) -> None:
        if self._next < len(self._rows):
            self._clock.call_at(float(self._workload.arrival_s[self._rows[self._next]]), Turn.ARRIVAL, self._send_next)

    def _send_next(self) -> None:
        """The next arrival is on the clock's agenda before this one is routed, as in the simulator."""
        if self._over:
            return
        request = self._ready.popleft() if self._ready else self._request(self._rows[self._next])
        self._next += 1
        self._await_next()
        self._send(request)
        self.lag_s.append(self._clock.now() - request.arrival_s)

    def _call_next(self, code: int) -> None:
        row = self._queues[code].popleft()
        self._called += 1
        self._clock.call_at(self._clock.now(), Turn.ARRIVAL, lambda: self._send_in_turn(row))

    def _send_in_turn(self, row: int) -> None:
        self._called -= 1
        if self._over or (now_s := self._clock.now()) >= self._until_s:
            return
        request = self._request(row)
        request.arrival_s = now_s
        self._send(request)

    def _send(self, request: Request) -> None:
        request.sent_s = self._clock.now()
        self.sent += 1
        self._dispatch(request)

    def _request(self, row: int) -> Request:
        work = self._workload
        code = int(work.klass[row])
        prefix = tuple(work.blocks_of(row).tolist()) if work.block_ids is not None else ()
        prompt, output = int(work.prompt_tokens[row]), int(work.output_tokens[row])
        return Request(row, work.classes[code], code, float(work.arrival_s[row]), prompt, output, prefix)


def lag_allowed_s(classes: Sequence[RequestClass]) -> float:
    """How large the 99th percentile of the dispatch lag may be: 10 ms, or 1 % of the tightest TTFT objective where that is more."""
    promised = [c.slo.ttft_s for c in classes if c.slo.ttft_s is not None]
    return max(_LAG_ALLOWED_S, _LAG_ALLOWED_OF_TTFT * min(promised)) if promised else _LAG_ALLOWED_S
