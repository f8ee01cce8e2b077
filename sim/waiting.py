"""Requests that wait, in the order in which vLLM looks at them; one is taken from anywhere in the queue without a search."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice

from sim.request import Request


class FirstCome(OrderedDict[Request, None]):
    """First come, first served; who is put back comes first."""

    def add(self, request: Request) -> None:
        self[request] = None

    def put_back(self, request: Request, place: int = 0) -> None:
        """To the head, behind the first ``place`` that wait."""
        before = list(islice(self, place))
        for one in (request, *reversed(before)):
            self[one] = None
            self.move_to_end(one, last=False)

    def take(self, request: Request) -> None:
        """Remove a request, wherever it stands.

        Raises:
            KeyError: it does not wait.
        """
        del self[request]

    def sort(self, order: Iterable[Request]) -> None:
        """Stand in this order, which names everyone, from now on."""
        for request in order:
            self.move_to_end(request)


class MostUrgent:
    """vLLM's priority policy: by priority, then by arrival. A plan's order is for one step, and leaves the queue as it is."""

    def __init__(self) -> None:
        self._line: list[Request] = []

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._line)

    def __contains__(self, request: object) -> bool:
        return request in self._line

    def add(self, request: Request) -> None:
        insort(self._line, request, key=Request.urgency)

    def put_back(self, request: Request, place: int = 0) -> None:
        """To its place, which is where it would be had it never left."""
        self.add(request)

    def take(self, request: Request) -> None:
        """Remove a request, wherever it stands."""
        del self._line[bisect_left(self._line, request.urgency(), key=Request.urgency)]


Waiting = FirstCome | MostUrgent
