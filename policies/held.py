"""What a router holds: requests that are all offered again at every turn, and named queues of which only the head is.

The bookkeeping behind ``Hold``, the same in both worlds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from policies.decisions import Hold
from policies.types import RequestView

Request = TypeVar("Request", bound=RequestView)


class Held(Generic[Request]):
    """Requests by the queue that ``Hold.queue`` names; "" is no queue. ``count``: of all of them."""

    __slots__ = ("_loose", "_queues", "count")

    def __init__(self) -> None:
        self._loose: list[Request] = []
        self._queues: dict[str, deque[Request]] = {}
        self.count = 0

    def add(self, request: Request, hold: Hold) -> None:
        self.count += 1
        if hold.queue:
            self._queues.setdefault(hold.queue, deque()).append(request)
        else:
            self._loose.append(request)

    def remove(self, request: Request) -> None:
        """Take a request out, wherever it is, if it is here."""
        for queue in (self._loose, *self._queues.values()):
            if request in queue:
                queue.remove(request)
                self.count -= 1

    def offer(self, place: Callable[[Request], Hold | None]) -> None:
        """Ask ``place`` about each loose request and about the queues' heads; it answers with ``None`` where a request has left."""
        loose, self._loose = self._loose, []
        self.count -= len(loose)
        for request in loose:
            if (hold := place(request)) is not None:
                self.add(request, hold)
        for name in list(self._queues):
            queue = self._queues[name]
            while queue:
                hold = place(queue[0])
                if hold is not None and hold.queue == name:
                    break
                request = queue.popleft()
                self.count -= 1
                if hold is not None:
                    self.add(request, hold)

    @property
    def requests(self) -> Sequence[Request]:
        """Loose ones first, then queue by queue."""
        if not self._queues:
            return self._loose
        return [*self._loose, *(request for queue in self._queues.values() for request in queue)]
