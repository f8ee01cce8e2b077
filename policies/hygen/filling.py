"""A step as it is filled: what it is predicted to take, and what one more request would add, each in constant time."""

from __future__ import annotations

from policies.hygen.predictor import Predictor


class Filling:
    """The sums that a predictor's features are made of. ``left``: tokens that the step has room for; ``drafting_s``: what drafting
    for its decodes takes.
    """

    __slots__ = ("_drafting_s", "_predictor", "context", "decodes", "left", "prefills", "tokens")

    def __init__(self, predictor: Predictor, left: int, drafting_s: float = 0.0) -> None:
        self._predictor = predictor
        self._drafting_s = drafting_s
        self.left = left
        self.tokens = self.context = self.prefills = self.decodes = 0

    def copy(self) -> Filling:
        twin = Filling(self._predictor, self.left, self._drafting_s)
        twin.tokens, twin.context, twin.prefills, twin.decodes = self.tokens, self.context, self.prefills, self.decodes
        return twin

    @property
    def seconds(self) -> float:
        drafting_s = self._drafting_s if self.decodes else 0.0
        return drafting_s + self._predictor.seconds(self.tokens, self.context, self.prefills, self.decodes)

    @property
    def growth_s(self) -> float:
        """By how much the next step is longer if everyone decodes: each has read one token more."""
        _, _, sd, _, sd2, _, _ = self._predictor.weights
        return max(self.decodes * (sd + sd2 * (2 * self.context + self.decodes)), 0.0)

    def decode(self, context: int, drafts: int = 0) -> None:
        """One more request decodes, and reads ``context`` tokens; its draft tokens cost what a prompt's do."""
        self.decodes += 1
        self.context += context
        self.tokens += drafts
        self.left -= 1 + drafts

    def undo_decode(self, context: int, drafts: int = 0) -> None:
        self.decodes -= 1
        self.context -= context
        self.tokens -= drafts
        self.left += 1 + drafts

    def prefill(self, tokens: int) -> None:
        """One more request prefills ``tokens``."""
        self.prefills += 1
        self.tokens += tokens
        self.left -= tokens

    def chunk_within(self, seconds: float, tokens: int) -> int:
        """The largest chunk of at most ``tokens`` with which the step stays within ``seconds``."""
        most = min(tokens, self.left)
        if seconds == float("inf") or most <= 0:
            return max(most, 0)
        begun = self.prefills + self.decodes > 0
        spare = seconds - (self.seconds if begun else self._predictor.weights[0])
        return max(0, min(most, self._predictor.chunk_within(spare, self.tokens)))
