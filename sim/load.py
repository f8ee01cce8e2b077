"""Where requests come from: the workload's arrivals, and closed loops that send the next request when one is done.

A front end, where there is one, keeps each request for its time before the fleet sees it. A closed loop's next request therefore
never makes the engine's next step, which begins the instant that the last token is out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping

import numpy as np

from sim.kernel import ARRIVAL, Bell, Kernel
from sim.request import Request
from traces.workload import Workload

_READ_AHEAD = 1 << 14


class Load:
    """Sends a workload's requests to ``dispatch``.

    ``concurrency``: class code → how many requests of that class are under way at any time; the arrival times of such a class
    only give the order. All other classes arrive at their times (open loop). ``until_s``: no request is sent at or after it.
    ``frontend_s``: seconds per request and per prompt token from being sent to being dispatched.
    """

    def __init__(
        self,
        kernel: Kernel,
        workload: Workload,
        dispatch: Callable[[Request], None],
        *,
        concurrency: Mapping[int, int] | None = None,
        until_s: float = float("inf"),
        frontend_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._kernel = kernel
        self._workload = workload
        self._dispatch = dispatch if frontend_s == (0.0, 0.0) else self._enter
        self._out_of_frontend = dispatch
        self._frontend_s = frontend_s
        self.entering: dict[int, Request] = {}
        """Requests in the front end, by id."""
        self._until_s = until_s
        self._waiting: dict[int, deque[int]] = {}
        self.sent = 0
        self.due = 0
        """Requests that were sent or will be, as far as is known: a closed loop's next one is due when one is done."""
        loops = concurrency or {}
        closed = np.isin(workload.klass, list(loops))
        rows = np.flatnonzero(~closed & (workload.arrival_s < until_s))
        if len(rows):
            self.due += len(rows)
            kernel.start(self._open(rows))
        for code, width in loops.items():
            queue = self._waiting[code] = deque(np.flatnonzero(workload.klass == code).tolist())
            for _ in range(min(width, len(queue))):
                self._send_at(kernel._now, queue.popleft())

    def on_done(self, request: Request) -> None:
        """A request is done: its class's loop, if it has one, sends the next."""
        queue = self._waiting.get(request.klass_code)
        if queue and self._kernel._now < self._until_s:
            self._send_at(self._kernel._now, queue.popleft())

    def _enter(self, request: Request) -> None:
        base, per_token = self._frontend_s
        self.entering[request.id] = request
        self._kernel.call_at(
            self._kernel._now + base + per_token * request.prompt_tokens,
            ARRIVAL,
            lambda _: self._out_of_frontend(self.entering.pop(request.id)),
        )

    def _send_at(self, time: float, row: int) -> None:
        self.due += 1
        self._kernel.call_at(time, ARRIVAL, lambda _: self._send(row, self._kernel._now))

    def _send(self, row: int, time: float) -> None:
        work = self._workload
        code = int(work.klass[row])
        prompt, output = int(work.prompt_tokens[row]), int(work.output_tokens[row])
        self.sent += 1
        self._dispatch(Request(row, work.classes[code], code, time, prompt, output, self._prefix(row)))

    def _prefix(self, row: int) -> tuple[int, ...]:
        return tuple(self._workload.blocks_of(row).tolist()) if self._workload.block_ids is not None else ()

    def _open(self, rows: np.ndarray) -> Generator[Bell, None, None]:
        """The open-loop arrivals. The next arrival is on the kernel's queue before this one is routed: see ``instant_over``."""
        kernel, dispatch, work = self._kernel, self._dispatch, self._workload
        classes = work.classes
        has_prefix = work.block_ids is not None
        bell = kernel.bell()
        kernel.ring_at(bell, float(work.arrival_s[rows[0]]), ARRIVAL)
        for start in range(0, len(rows), _READ_AHEAD):
            part = rows[start : start + _READ_AHEAD]
            ahead = work.arrival_s[rows[start + 1 : start + 1 + _READ_AHEAD]].tolist()
            ahead.append(None)
            columns = (part, work.arrival_s[part], work.klass[part], work.prompt_tokens[part], work.output_tokens[part])
            for row, time, code, prompt, output, following in zip(*(c.tolist() for c in columns), ahead, strict=False):
                yield bell
                if following is not None:
                    kernel.ring_at(bell, following, ARRIVAL)
                self.sent += 1
                dispatch(Request(row, classes[code], code, time, prompt, output, self._prefix(row) if has_prefix else ()))
