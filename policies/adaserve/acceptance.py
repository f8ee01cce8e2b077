"""How many draft tokens are accepted, as a policy observes it from the tokens that requests have generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policies.adaserve.tree import Floats
from policies.types import RequestView


class ObservedAcceptance:
    """A moving estimate of α, the probability that a draft token is accepted given that those before it were.

    Every verification that accepts a of k tokens is a hits and, if a < k, one miss. Hits and misses lose weight with every step, so
    that about ``memory`` steps are remembered; ``prior`` is what is believed before the first one.
    """

    __slots__ = ("_hits", "_trials", "_verified", "keep")

    def __init__(self, *, prior: float = 0.7, memory: float = 20.0) -> None:
        if not 0 < prior < 1 or not memory >= 1:
            raise ValueError(f"prior is {prior} and memory {memory}; give a probability between 0 and 1, and at least 1 step")
        self.keep = 1 - 1 / memory
        self._trials = 1.0
        self._hits = prior
        self._verified: dict[int, tuple[int, int]] = {}

    @property
    def rate(self) -> float:
        return self._hits / self._trials

    def verifying(self, requests: Sequence[RequestView], drafts: Mapping[int, int]) -> None:
        """So many draft tokens of each request, by id, are verified in the step that comes."""
        self._verified = {r.id: (r.generated_tokens, k) for r in requests if (k := drafts.get(r.id, 0))}

    def look(self, requests: Sequence[RequestView]) -> None:
        """Take in what has become of them. A request that generated nothing was not in the step."""
        hits = trials = 0
        for request in requests:
            before, drafted = self._verified.get(request.id, (0, 0))
            if not drafted or request.generated_tokens <= before:
                continue
            accepted = min(request.generated_tokens - before - 1, drafted)
            hits += accepted
            trials += min(accepted + 1, drafted)
        self._verified = {}
        if trials:
            self._hits = self.keep * self._hits + hits
            self._trials = self.keep * self._trials + trials


def expected_tokens(rate: float, longest: int) -> Floats:
    """Tokens that verifying a chain of 0, 1, … ``longest`` draft tokens yields, the target's own included: 1 + α + … + αᵏ."""
    return np.cumsum(rate ** np.arange(longest + 1))
