"""Draft tokens: how likely each is accepted, and which are. The draws are the same whatever else a run does.

The model: the i-th draft token of a chain is accepted with the conditional probability ``rates[i]``, given that those before it
were, independently of all else. Whether it is, is decided by one number per request and output position, so that two arms of a
comparison that draft differently agree on what the target model would have said. Published acceptance by position is mostly
*unconditional* (vLLM's metrics, SpecBundle): the share of steps in which at least i tokens were accepted; rate i is then the i-th
of these over the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from policies.streams import Draws

_POSITIONS = 1 << 24
"""Output positions that have draws of their own."""


class Acceptance:
    """Which draft tokens the target accepts. ``rates``: by place in the chain; the last one holds for all places after it."""

    __slots__ = ("_draw", "rates")

    def __init__(self, seed: int, rates: Sequence[float]) -> None:
        self._draw = Draws(seed, "draft-acceptance")
        self.rates = tuple(rates)

    def chain(self, tokens: int) -> tuple[float, ...]:
        """The conditional probabilities of a chain of so many draft tokens."""
        given = self.rates[:tokens]
        return given + (self.rates[-1],) * (tokens - len(given))

    def accepted(self, request: int, generated: int, drafts: int) -> int:
        """How many of ``drafts`` tokens are accepted of a request that has ``generated`` so many."""
        position = request * _POSITIONS + generated
        last = len(self.rates) - 1
        for place in range(drafts):
            if self._draw(position + place) >= self.rates[min(place, last)]:
                return place
        return drafts
