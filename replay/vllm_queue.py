"""Queues of waiting requests for vLLM's scheduler, where a batcher says who may be admitted."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Any

from vllm.v1.core.sched.request_queue import FCFSRequestQueue, RequestQueue


class Line(RequestQueue):  # type: ignore[misc]
    """First come, first served, like vLLM's, but who leaves from the middle is not searched for."""

    def __init__(self, requests: Iterable[Any] = ()) -> None:
        self._line: OrderedDict[Any, None] = OrderedDict.fromkeys(requests)

    def add_request(self, request: Any) -> None:
        self._line[request] = None

    def pop_request(self) -> Any:
        return self._line.popitem(last=False)[0]

    def peek_request(self) -> Any:
        if not self._line:
            raise IndexError("peek from an empty queue")
        return next(iter(self._line))

    def prepend_request(self, request: Any) -> None:
        self._line[request] = None
        self._line.move_to_end(request, last=False)

    def prepend_requests(self, requests: Iterable[Any]) -> None:
        """The last of ``requests`` comes first, as in vLLM's queue."""
        for request in requests:
            self.prepend_request(request)

    def remove_request(self, request: Any) -> None:
        del self._line[request]

    def remove_requests(self, requests: Iterable[Any]) -> None:
        """Whoever of them is there."""
        for request in requests:
            self._line.pop(request, None)

    def sort(self, order: Iterable[Any]) -> None:
        """Stand in this order, which names everyone, from now on."""
        for request in order:
            self._line.move_to_end(request)

    def __bool__(self) -> bool:
        return bool(self._line)

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._line)

    __hash__ = object.__hash__


class Shown(FCFSRequestQueue):  # type: ignore[misc]
    """What a step gets to see of a queue: these requests, in this order. It counts the ``hidden`` ones too, as vLLM's rules do."""

    def __init__(self, requests: Iterable[Any], hidden: int) -> None:
        super().__init__(requests)
        self._hidden = hidden

    def __bool__(self) -> bool:
        return bool(deque.__len__(self))

    def __len__(self) -> int:
        return deque.__len__(self) + self._hidden

    __hash__ = object.__hash__
