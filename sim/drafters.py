"""The drafter of a simulated engine: what it proposes for a request, and what the target accepts of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from policies.decisions import Drafts, Tree
from policies.drafting.acceptance import Acceptance
from policies.drafting.world import DraftWorld
from sim.request import Request


class Drafter(Protocol):
    """``widest``: draft tokens that it can have in a layer; 1 = it drafts chains."""

    @property
    def widest(self) -> int: ...

    def drafts(self, requests: Sequence[Request], lengths: Mapping[int, int], width: int) -> Drafts:
        """For every request ``lengths[id]`` layers of ``width`` tokens; nothing for those of length 0."""

    def accepted(self, request: Request, nodes: Sequence[int]) -> int:
        """How many are accepted of the draft tokens that are verified at the request's next output position: ``nodes`` of its tree,
        or of a chain the tokens 0, 1, …
        """


class RatedDrafter:
    """Chains whose tokens are accepted at rates by place, the same for every request; it knows the rates."""

    __slots__ = ("_acceptance",)
    widest = 1

    def __init__(self, acceptance: Acceptance) -> None:
        self._acceptance = acceptance

    def drafts(self, requests: Sequence[Request], lengths: Mapping[int, int], width: int) -> Drafts:
        chain = self._acceptance.chain
        return Drafts({id: chain(tokens) for id, tokens in lengths.items() if tokens})

    def accepted(self, request: Request, nodes: Sequence[int]) -> int:
        return self._acceptance.accepted(request.id, request._generated, len(nodes))


class KnownDrafter:
    """A drafter out of the world of drafts, where what is believed and what is true are two things.

    ``categories``: of a request's class, by its code, the number of its drafter in ``world``.
    """

    __slots__ = ("_categories", "_fates", "_world", "widest")

    def __init__(self, world: DraftWorld, categories: Sequence[int], widest: int) -> None:
        self._world = world
        self._categories = np.array(categories, np.int64)
        self.widest = widest
        self._fates: dict[int, tuple[int, Sequence[bool]]] = {}
        """By request: its output position when it was drafted for, and which of the draft tokens the target accepts."""

    def drafts(self, requests: Sequence[Request], lengths: Mapping[int, int], width: int) -> Drafts:
        here = [request for request in requests if lengths[request.id]]
        self._fates = {}
        if not here:
            return Drafts({}, {} if width > 1 else None)
        deepest = max(lengths[request.id] for request in here)
        at = self._at(here)
        if width == 1:
            given, accepted = self._world.chains(*at, deepest)
            for request, taken in zip(here, (np.arange(deepest) < accepted[:, None]).tolist(), strict=True):
                self._fates[request.id] = request._generated, taken
            return Drafts({r.id: chain[: lengths[r.id]] for r, chain in zip(here, given.tolist(), strict=True)})
        proposal = self._world.trees(*at, deepest, width)
        for request, taken in zip(here, proposal.accepted.tolist(), strict=True):
            self._fates[request.id] = request._generated, taken
        rows = zip(here, proposal.forest.parents.tolist(), proposal.forest.given().tolist(), strict=True)
        cut = {request.id: lengths[request.id] * width for request in here}
        return Drafts({}, {r.id: Tree(parents[: cut[r.id]], given[: cut[r.id]]) for r, parents, given in rows})

    def accepted(self, request: Request, nodes: Sequence[int]) -> int:
        position, taken = self._fates.get(request.id, (-1, ()))
        if position == request._generated:
            return sum(map(taken.__getitem__, nodes))
        _, accepted = self._world.chains(*self._at([request]), len(nodes))  # a chain that was drafted ahead of its position
        return int(accepted[0])

    def _at(self, requests: Sequence[Request]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = np.array([(r.id, self._categories[r.klass_code], r._generated) for r in requests], np.int64)
        return table[:, 0], table[:, 1], table[:, 2]
