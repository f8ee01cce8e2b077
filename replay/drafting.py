"""A speculator inside an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from policies.decisions import Drafts
from policies.drafting.acceptance import Acceptance
from policies.protocols import Speculator
from policies.types import DraftView
from replay.guard import Guard


class Chooser:
    """Asks a speculator how much of each chain is drafted and verified. Where it fails, all is: as in the engine without it.

    ``most``: the engine's ``num_speculative_tokens``. ``acceptance``: what is believed of draft tokens where ``told``, by request
    id, does not know with what probabilities the drafter proposed them. ``ahead``: steps are planned before there are drafts to
    select from.
    """

    def __init__(
        self,
        speculator: Speculator,
        most: int,
        acceptance: Acceptance,
        guard: Guard,
        *,
        ahead: bool,
        told: Callable[[int], Sequence[float]] = lambda _: (),
    ) -> None:
        self._told = told
        self._speculator = speculator
        self._most = most
        self._acceptance = acceptance
        self._guard = guard
        self._ahead = ahead

    def choose(self, view: DraftView, step: int, decoding: Sequence[int]) -> tuple[int, Mapping[int, int]]:
        """The longest chain that is drafted for ``step``, and how many draft tokens of each decoding request are verified."""
        chosen = self._guard.ask(step, lambda: self._chosen(view, decoding))
        return (self._most, dict.fromkeys(decoding, self._most)) if chosen is None else chosen

    def _chosen(self, view: DraftView, decoding: Sequence[int]) -> tuple[int, Mapping[int, int]]:
        shape = self._speculator.shape(view)
        length = self._most if shape.tokens is None else shape.tokens
        lengths = {id: min((shape.per_request or {}).get(id, length), self._most) for id in decoding}
        self._check(lengths)
        longest = max(lengths.values())
        if self._ahead:
            return longest, lengths
        chains = {id: self._chain(id, tokens) for id, tokens in lengths.items() if tokens}
        selected = self._speculator.select(view, Drafts(chains)).tokens or {}
        verified = {id: min(selected.get(id, tokens), tokens) for id, tokens in lengths.items()}
        self._check(verified)
        return longest, verified

    def _chain(self, id: int, tokens: int) -> Sequence[float]:
        told = self._told(id)
        return tuple(told[:tokens]) if len(told) >= tokens else self._acceptance.chain(tokens)

    def _check(self, lengths: Mapping[int, int]) -> None:
        for id, tokens in lengths.items():
            if not 0 <= tokens <= self._most:
                raise ValueError(f"{tokens} draft tokens for request {id}; the engine takes 0 to {self._most}")
