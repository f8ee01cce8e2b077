"""Whom a policy has still to be told of: the bookkeeping behind ``FleetView.completed``, the same in both worlds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from policies.types import RequestView

Request = TypeVar("Request", bound=RequestView)
KEPT = 4096
"""Requests that a policy which is not asked for long is told of at most: the last ones."""


class Completions(Generic[Request]):
    """Requests that have completed since one policy was last asked."""

    __slots__ = ("_untold",)

    def __init__(self) -> None:
        self._untold: deque[Request] = deque(maxlen=KEPT)

    def add(self, request: Request) -> None:
        """A request has completed."""
        self._untold.append(request)

    def told(self) -> Sequence[Request]:
        """What the policy is told now, and not again: in the order in which they completed."""
        if not self._untold:
            return ()
        news = tuple(self._untold)
        self._untold.clear()
        return news
