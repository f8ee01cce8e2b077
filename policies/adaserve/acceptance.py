"""How many draft tokens are accepted, as a policy observes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policies.adaserve.tree import Floats
from policies.types import RequestView


class ObservedAcceptance:
    """A moving estimate of α, the probability that a draft token is accepted given that those before it were.

    Every verification that accepts a of k tokens is a hits and, if a < k, one miss. Hits and misses lose weight with every step, so
    that about ``memory`` steps are remembered; ``prior`` is what is believed before the first one.
    """

    __slots__ = ("_hits", "_seen", "_trials", "keep")

    def __init__(self, *, prior: float = 0.7, memory: float = 20.0) -> None:
        if not 0 < prior < 1 or not memory >= 1:
            raise ValueError(f"prior is {prior} and memory {memory}; give a probability between 0 and 1, and at least 1 step")
        self.keep = 1 - 1 / memory
        self._trials = 1.0
        self._hits = prior
        self._seen: dict[int, tuple[int, int]] = {}
        """Draft tokens verified and accepted so far, by request."""

    @property
    def rate(self) -> float:
        return self._hits / self._trials

    def look(self, requests: Sequence[RequestView]) -> None:
        """Take in what was verified since the last look, which is one step ago."""
        hits = trials = 0
        for request in requests:
            drafted, accepted = self._seen.get(request.id, (0, 0))
            verified, taken = request.drafted_tokens - drafted, request.accepted_tokens - accepted
            hits += taken
            trials += min(taken + 1, verified)
        self._seen = {request.id: (request.drafted_tokens, request.accepted_tokens) for request in requests}
        if trials:
            self._hits = self.keep * self._hits + hits
            self._trials = self.keep * self._trials + trials


def expected_tokens(rate: float, longest: int) -> Floats:
    """Tokens that verifying a chain of 0, 1, … ``longest`` draft tokens yields, the target's own included: 1 + α + … + αᵏ."""
    return np.cumsum(rate ** np.arange(longest + 1))
