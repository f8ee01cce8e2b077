"""How likely draft tokens are accepted: by place in the chain, by request, by rank among siblings, and as the drafter sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request. ``rates``: probability that the drafter's first choice is accepted given that all before it were, by place
    in the chain; the last one holds for all places after it. ``share``: of the requests.
    """

    rates: tuple[float, ...]
    share: float = 1.0

    def __post_init__(self) -> None:
        if not self.rates or not all(0 <= rate <= 1 for rate in self.rates):
            raise ValueError(f"rates are {list(self.rates)}; give at least one probability")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; it is a share of the requests, above 0")

    def accepted(self, drafts: int) -> float:
        """Draft tokens of a chain that are accepted on average: without the token that the target adds."""
        rates = (self.rates + (self.rates[-1],) * (drafts - len(self.rates)))[:drafts]
        return sum(accumulate(rates, mul), 0.0)


@dataclass(frozen=True, slots=True)
class Drafter:
    """A drafter on one category of requests.

    ``kinds``: the mixture of requests; a request's kind never changes. ``siblings``: the second choice is accepted with this share
    of the probability that the first is not, the third with this share of what is left then, and so on, no choice more likely than
    the one before it. ``spread``: how much the first choice's probability varies from position to position around its rate, from 0
    (never) to 1 (as a Beta(rate / (1 − rate), 1) variable). ``confidence``: the drafter takes a first choice that is accepted with
    probability p to be accepted with pᶜ: 1 = it is right, below 1 = over-confident, above 1 = under-confident. ``source``: of the
    numbers.
    """

    kinds: tuple[Kind, ...]
    siblings: float = 0.0
    spread: float = 0.0
    confidence: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if abs(sum(kind.share for kind in self.kinds) - 1) > 1e-9:
            raise ValueError(f"the kinds' shares sum to {sum(kind.share for kind in self.kinds):g}; they are shares of one")
        if not 0 <= self.siblings <= 1 or not 0 <= self.spread <= 1:
            raise ValueError(f"siblings is {self.siblings} and spread {self.spread}; both are from 0 to 1")
        if not self.confidence > 0:
            raise ValueError(f"confidence is {self.confidence}; it is an exponent above 0")

    def accepted(self, drafts: int) -> float:
        """Accepted draft tokens of a chain, as the mean over requests of each one's mean over its verifications."""
        return sum(kind.share * kind.accepted(drafts) for kind in self.kinds)

    def accepted_per_verification(self, drafts: int) -> float:
        """The same as the mean over verifications, outputs being of one length: requests that accept little verify more often."""
        return 1 / sum(kind.share / (1 + kind.accepted(drafts)) for kind in self.kinds) - 1


def rates_of(survival: Sequence[float]) -> tuple[float, ...]:
    """Conditional rates from *unconditional* acceptance by position, as vLLM's metrics and SpecBundle give it: the shares of
    verifications that accept at least 1, 2, … draft tokens.

    Raises:
        ValueError: a share is above the one before it.
    """
    for position, (before, here) in enumerate(pairwise((1.0, *survival)), start=1):
        if not 0 <= here <= before:
            raise ValueError(f"position {position} is accepted in {here:g} of the verifications, the one before it in {before:g}")
    return tuple(here / before if before else 0.0 for before, here in pairwise((1.0, *survival)))
