"""Whom a policy has still to be told of: the bookkeeping behind ``FleetView.completed``, the same in both worlds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from policies.types import Completed, RequestView

KEPT = 4096
"""Requests that a policy which is not asked for long is told of at most: the last ones."""


def completed(request: RequestView, at_s: float) -> Completed:
    """A request that has just been given its last token."""
    first = request.first_token_s
    return Completed(
        request.id,
        request.model,
        request.tier,
        request.offline,
        request.slo,
        request.arrival_s,
        at_s if first is None else first,
        at_s,
        request.prompt_tokens,
        request.expected_output_tokens,
        request.generated_tokens,
    )


class Completions:
    """Requests that have completed since one policy was last asked."""

    __slots__ = ("_untold",)

    def __init__(self) -> None:
        self._untold: deque[tuple[RequestView, float]] = deque(maxlen=KEPT)

    def add(self, request: RequestView, at_s: float) -> None:
        """A request has completed."""
        self._untold.append((request, at_s))

    def told(self) -> Sequence[tuple[RequestView, float]]:
        """What the policy is told now, and not again: in the order in which they completed, each with when it did."""
        if not self._untold:
            return ()
        news = tuple(self._untold)
        self._untold.clear()
        return news
