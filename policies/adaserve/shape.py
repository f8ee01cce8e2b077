"""How deep and wide drafts are, and how many tokens are verified, by load (arXiv 2501.12162, §5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from policies.latency import LatencyModel

_POINTS = 256


class Beam(NamedTuple):
    """The shape of a candidate tree: ``depth`` layers of ``width`` nodes."""

    depth: int
    width: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the candidate trees; the default is the artifact's setting for Llama-3.1-70B with a 1B drafter.

    ``draft_budget``: B₂, tokens that a pass of the draft model takes. ``formula``: ``paper``: d = ⌊B / (n + c₁)⌋ − 1 and
    w = ⌊B₂ / n⌋ + c₂; ``code``: d = ⌈B / n⌉ and w = ⌊B₂ / n⌋, without a least depth. The paper tuned c₁ and c₂ by grid search and
    does not tell them; 0 leaves its formula to speak for itself.
    """

    depth_min: int = 4
    depth_max: int = 8
    width_max: int = 3
    draft_budget: int = 96
    c1: float = 0.0
    c2: float = 0.0
    formula: Literal["paper", "code"] = "paper"

    def __post_init__(self) -> None:
        if not 0 < self.depth_min <= self.depth_max:
            raise ValueError(f"depth_min is {self.depth_min} and depth_max {self.depth_max}; give 1 ≤ depth_min ≤ depth_max")
        if self.width_max < 1 or self.draft_budget < 1 or self.c1 < 0:
            raise ValueError(
                f"width_max is {self.width_max}, draft_budget {self.draft_budget}, c1 {self.c1}; give at least 1, 1 and 0"
            )

    def beam(self, requests: int, budget: int) -> Beam:
        """The shape for so many decoding requests that share a budget of verified tokens."""
        count = max(requests, 1)
        if self.formula == "code":
            return Beam(min(-(-budget // count), self.depth_max), max(1, min(self.draft_budget // count, self.width_max)))
        depth = int(budget / (count + self.c1)) - 1
        width = int(self.draft_budget // count + self.c2)
        return Beam(min(max(depth, self.depth_min), self.depth_max), min(max(width, 1), self.width_max))


def knee(latency: LatencyModel, most: int) -> int:
    """The verification budget B: the tokens m, ``most`` at most, at which m / t(m)² is largest for a step of t(m) seconds.

    That is where one per cent more throughput starts to cost more than one per cent of latency (Kleinrock's power, ICC 1979): the
    ridge of a roofline, and a step of twice the floor where time is a floor and a line. One request without context is asked about,
    at some 256 numbers of tokens.
    """
    pitch = float(-(-most // _POINTS) or 1)
    tokens = np.arange(pitch, max(most, 1) + 1.0, pitch)
    none, one = np.zeros(len(tokens)), np.ones(len(tokens))
    seconds = latency.seconds_many(none, none, none, one, none, tokens - 1)
    return int(tokens[np.argmax(tokens / seconds**2)])
