"""Speculative decoding inside one engine: the speculator's decisions, carried out on what the drafter proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from policies.decisions import Drafts, DraftShape, Selection, Tree
from policies.protocols import Speculator
from policies.types import DraftView
from sim.drafters import Drafter
from sim.request import Request
from traces.errors import InputError


class Speculation:
    """``most``: the engine's ``num_speculative_tokens``. ``ahead``: steps are planned before there are drafts to select from.
    ``draft_s``: seconds of one pass of the drafter, which gives every request one more layer.
    """

    __slots__ = ("_ahead", "_drafter", "_engine", "_most", "_speculator", "_verified", "draft_s")

    def __init__(
        self, engine: str, speculator: Speculator, drafter: Drafter, most: int, *, ahead: bool = False, draft_s: float = 0.0
    ) -> None:
        self._engine = engine
        self._speculator = speculator
        self._drafter = drafter
        self._most = most
        self._ahead = ahead
        self.draft_s = draft_s
        self._verified: dict[int, Sequence[int]] = {}

    def choose(self, view: DraftView, requests: Sequence[Request]) -> tuple[int, dict[int, int]]:
        """The passes of the drafter for the next step, and how many draft tokens of each of ``requests`` are to be verified."""
        shape = self._speculator.shape(view)
        lengths = self._lengths(shape, requests)
        if self._ahead:
            self._verified = {id: range(tokens) for id, tokens in lengths.items()}
        else:
            drafts = self._drafter.drafts(requests, lengths, min(max(shape.width, 1), self._drafter.widest))
            selection = self._speculator.select(view, drafts)
            self._verified = self._chains(drafts, selection) if drafts.trees is None else self._trees(drafts.trees, selection)
        return max(lengths.values()), {id: len(nodes) for id, nodes in self._verified.items()}

    def accepted(self, request: Request, drafts: int) -> int:
        """How many of a request's first ``drafts`` verified draft tokens are accepted."""
        nodes = self._verified.get(request.id, ())
        return self._drafter.accepted(request, nodes[:drafts] if len(nodes) >= drafts else range(drafts))

    def _lengths(self, shape: DraftShape, requests: Sequence[Request]) -> dict[int, int]:
        common = self._most if shape.tokens is None else shape.tokens
        own = shape.per_request or {}
        lengths = {request.id: min(own.get(request.id, common), self._most) for request in requests}
        for id, tokens in lengths.items():
            if tokens < 0:
                self._refuse(f"drafts {tokens} tokens for request {id}; give a number from 0")
        return lengths

    def _chains(self, drafts: Drafts, selection: Selection) -> dict[int, Sequence[int]]:
        if selection.nodes:
            self._refuse("names nodes where there are chains; give `Selection.tokens`")
        chosen = selection.tokens or {}
        for id, tokens in chosen.items():
            if tokens < 0:
                self._refuse(f"verifies {tokens} tokens for request {id}; give a number from 0")
        return {id: range(min(chosen.get(id, len(chain)), len(chain))) for id, chain in drafts.chains.items()}

    def _trees(self, trees: Mapping[int, Tree], selection: Selection) -> dict[int, Sequence[int]]:
        if selection.tokens:
            self._refuse("gives lengths where there are trees; name their nodes in `Selection.nodes`")
        chosen = selection.nodes or {}
        verified: dict[int, Sequence[int]] = {}
        for id, tree in trees.items():
            parents = tree.parents
            nodes = verified[id] = chosen.get(id, range(len(parents)))
            there = {-1}
            for node in nodes:
                if not 0 <= node < len(parents) or node in there or parents[node] not in there:
                    self._refuse(
                        f"verifies node {node} of request {id}'s tree of {len(parents)}; name nodes of the tree, each once and "
                        "after its parent"
                    )
                there.add(node)
        return verified

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"policy.speculator: on engine {self._engine} {what}")
