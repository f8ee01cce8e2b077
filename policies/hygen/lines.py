"""Who waits on an engine, kept up to date by what has changed: online requests by age, offline ones in HyGen's order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

from policies.hygen.offline import OfflineQueue
from policies.types import RequestView, StepView


@dataclass(frozen=True, slots=True)
class Known:
    """What admitting a waiting request takes: ``tokens`` to compute, at least one."""

    arrival_s: float
    tokens: int


class Lines:
    """The waiting requests of one engine; ``hear`` what has changed before asking."""

    __slots__ = ("_known", "_online", "offline")

    def __init__(self, sharing: float) -> None:
        self.offline = OfflineQueue(sharing=sharing)
        self._known: dict[int, Known] = {}
        self._online: list[tuple[float, int]] = []

    def hear(self, engine: StepView) -> None:
        for id in engine.departed:
            self._drop(id)
        for request in engine.arrived:
            self._drop(request.id)  # one that has been heard of before comes with what it has by now
            self._known[request.id] = Known(request.arrival_s, max(1, tokens_known(request)))
            if request.offline:
                self.offline.add(request)
            else:
                insort(self._online, (request.arrival_s, request.id))

    def _drop(self, id: int) -> None:
        known = self._known.pop(id, None)
        if known is None:
            return
        if id in self.offline:
            self.offline.taken(id)
        else:
            del self._online[bisect_left(self._online, (known.arrival_s, id))]

    @property
    def online(self) -> Iterator[tuple[int, int]]:
        """Ids and tokens, the oldest first."""
        return ((id, self._known[id].tokens) for _, id in self._online)

    @property
    def online_count(self) -> int:
        return len(self._online)

    def tokens(self, id: int) -> int:
        return self._known[id].tokens


def tokens_known(request: RequestView) -> int:
    """The prompt and what has been generated."""
    return request.prompt_tokens + request.generated_tokens
