"""Draws draft trees and what of them the target accepts, the same for every schedule.

Every output position of a request has one number that says which of the drafter's choices the target's token is, and one that says
how sure the drafter is there; both are functions of (seed, request, position) alone. So arms of a comparison that draft differently
agree on what the target would have said, and whether a draft token is accepted depends on its position, its place in the chain and
its rank, never on when it was drafted. Paths that the target would not have taken have numbers of their own, named by the position
where they left its path and the choices since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.adaserve.tree import Codes, Floats, Forest, Ints, beam
from policies.drafting.drafter import Drafter
from policies.streams import generator

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_POSITIONS = 1 << 24
"""Output positions of a request that have numbers of their own."""
_ON_PATH = np.uint64(0)
"""Context of a path that the target takes too."""
_STEP = np.uint64(0xD1342543DE82EF95)
_LEAST = 1e-12


def _mixed(counters: Codes) -> Codes:
    """splitmix64 of each counter: Steele, Lea & Flood, OOPSLA 2014."""
    z = (counters + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def _after(contexts: Codes, choices: Codes) -> Codes:
    """Contexts off the target's path one choice on."""
    return np.asarray(contexts * _STEP + choices + np.uint64(1), np.uint64)


def _uniform(key: np.uint64, counters: Codes) -> Floats:
    return np.asarray((_mixed(counters ^ key) >> np.uint64(11)) * 2.0**-53, np.float64)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Candidate trees, and what the target takes of them. ``accepted``: (n, m), the nodes on the target's own path."""

    forest: Forest
    accepted: np.ndarray[tuple[int, int], np.dtype[np.bool_]]

    def tokens(self, order: Ints, nodes: Ints) -> Ints:
        """Accepted draft tokens (n,) where each request's first ``nodes`` of ``order`` are verified."""
        taken = np.take_along_axis(self.accepted, order, axis=1) & (np.arange(order.shape[1]) < nodes[:, None])
        return np.asarray(taken.sum(axis=1), np.int64)


class DraftWorld:
    """All drafts and acceptances of a run.

    ``drafters``: one per category of requests, in the order of the categories' codes.
    """

    __slots__ = ("_kind", "_rates", "_sure", "_truth", "_upto", "confidence", "siblings", "spread")

    def __init__(self, seed: int, drafters: Sequence[Drafter]) -> None:
        self._kind, self._truth, self._sure = (
            generator(seed, "drafting", name).integers(1 << 64, dtype=np.uint64) for name in ("kind", "truth", "confidence")
        )
        kinds = max(len(drafter.kinds) for drafter in drafters)
        places = max(len(kind.rates) for drafter in drafters for kind in drafter.kinds)
        self._rates = np.zeros((len(drafters), kinds, places))
        self._upto = np.ones((len(drafters), kinds))
        for category, drafter in enumerate(drafters):
            shares = np.cumsum([kind.share for kind in drafter.kinds])
            self._upto[category, : len(shares) - 1] = shares[:-1]
            for number, kind in enumerate(drafter.kinds):
                self._rates[category, number] = (*kind.rates, *(kind.rates[-1],) * (places - len(kind.rates)))
        self.siblings = np.array([drafter.siblings for drafter in drafters])
        self.spread = np.array([drafter.spread for drafter in drafters])
        self.confidence = np.array([drafter.confidence for drafter in drafters])

    def kinds(self, requests: Ints, categories: Ints) -> Ints:
        """Which of its category's kinds each request is of, (n,)."""
        drawn = _uniform(self._kind, requests.astype(np.uint64))
        return np.asarray((drawn[:, None] >= self._upto[categories]).sum(axis=1), np.int64)

    def trees(self, requests: Ints, categories: Ints, generated: Ints, depth: int, width: int) -> Proposal:
        """Beam-searched candidates of requests that have ``generated`` tokens so far; all arguments (n,) but the shape.

        With ``width`` 1 they are chains.
        """
        forest, contexts = beam(_Drawn(self, requests, categories, generated, width), len(requests), depth, width)
        return Proposal(forest, contexts == _ON_PATH)

    def chains(self, requests: Ints, categories: Ints, generated: Ints, depth: int) -> tuple[Floats, Ints]:
        """The drafter's first choices: the conditional probabilities it believes, (n, depth), and how many of ``depth`` draft
        tokens the target accepts, (n,); of a shorter chain as many, but no more than it has. The same as ``trees`` of width 1.
        """
        places = np.arange(depth)
        here = _positions(requests, generated)[:, None] + places.astype(np.uint64)
        rates = self.rates(requests, categories, places)
        true = self.first_choice(rates, categories, here)
        missed = self.draws(here) >= true
        accepted = np.where(missed.any(axis=1), missed.argmax(axis=1), depth) if depth else np.zeros(len(requests), np.int64)
        off_path = places > accepted[:, None]
        since = np.where(off_path, places - accepted[:, None] - 1, 0)
        left_at = np.take_along_axis(here, np.minimum(accepted, depth - 1)[:, None], axis=1) if depth else here
        powers = np.cumprod(np.r_[np.uint64(1), np.full(depth, _STEP)])
        sums = np.r_[np.uint64(0), np.cumsum(powers)[:-1]]
        names = np.where(off_path, _after(left_at, np.zeros_like(left_at)) * powers[since] + sums[since], here)
        return self.first_choice(rates, categories, names) ** self.confidence[categories][:, None], accepted

    def rates(self, requests: Ints, categories: Ints, places: Ints) -> Floats:
        """The rates of the requests' kinds at given places of the chain, (n, places)."""
        table = self._rates[categories, self.kinds(requests, categories)]
        return np.asarray(table[:, np.minimum(places, table.shape[1] - 1)])

    def first_choice(self, rates: Floats, categories: Ints, names: Codes) -> Floats:
        """The probability that the drafter's first choice is accepted in given contexts, (n, k)."""
        power = (1 - rates) / np.maximum(rates, _LEAST)
        varied = np.maximum(_uniform(self._sure, names), _LEAST) ** power
        return np.asarray(rates + self.spread[categories][:, None] * (varied - rates))

    def draws(self, positions: Codes) -> Floats:
        """The numbers that say which choice is the target's."""
        return _uniform(self._truth, positions)


def _positions(requests: Ints, generated: Ints) -> Codes:
    return np.asarray(requests.astype(np.uint64) * np.uint64(_POSITIONS) + generated.astype(np.uint64) + np.uint64(1))


class _Drawn:
    """The drafter of given requests at given positions."""

    __slots__ = ("categories", "fan", "position", "requests", "world")

    def __init__(self, world: DraftWorld, requests: Ints, categories: Ints, generated: Ints, fan: int) -> None:
        self.world, self.requests, self.categories = world, requests, categories
        self.position = _positions(requests, generated)
        self.fan = fan

    def expand(self, layer: int, contexts: Codes) -> tuple[Floats, Codes]:
        world = self.world
        here = (self.position + np.uint64(layer))[:, None]
        on_path = contexts == _ON_PATH
        names = np.where(on_path, here, contexts)
        first = world.first_choice(world.rates(self.requests, self.categories, np.array([layer])), self.categories, names)
        believed = self._ranked(first ** world.confidence[self.categories][:, None])
        rank = (world.draws(here)[:, :, None] >= np.cumsum(self._ranked(first), axis=2)).sum(axis=2)
        choices = np.arange(self.fan, dtype=np.uint64)
        children = _after(names[:, :, None], choices)
        children[on_path[:, :, None] & (choices == rank[:, :, None])] = _ON_PATH
        return believed, children

    def _ranked(self, first: Floats) -> Floats:
        """Probabilities of the first ``fan`` choices from that of the first one, (n, k, fan)."""
        siblings = self.world.siblings[self.categories][:, None]
        ranked, left = [first], 1 - first
        for _ in range(self.fan - 1):
            following = np.minimum(siblings * left, ranked[-1])
            ranked.append(following)
            left = left - following
        return np.stack(ranked, axis=2)
