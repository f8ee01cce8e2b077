"""Steps 2 and 3 of AdaServe's Algorithm 2: which draft tokens are verified (arXiv 2501.12162, §5).

Every request's verified tree is a prefix of its candidates in falling path probability, so a selection is one count per request.
That makes both phases arithmetic on sorted rows: a running sum and a comparison for the first, one partition for the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from policies.adaserve.tree import Floats, Forest, Ints

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rules:
    """Where the paper, its released engine (FlexFlow Serve, tag AdaServe) and its ablations differ; the default is the paper.

    ``phases``: ``slo`` = SLO-customised selection, then throughput; ``greedy`` = throughput alone; ``equal`` = the same number of
    nodes for every request. ``order``: of requests in the first phase by the tokens that they need, ``descending`` (paper) or
    ``ascending`` (code). ``share``: a request's tree is given at most share × B / n tokens, the root's among them, in the first
    phase: the paper's n_max, whose value only the code tells (1.2); infinite = no limit.
    """

    phases: Literal["slo", "greedy", "equal"] = "slo"
    order: Literal["descending", "ascending"] = "descending"
    share: float = 1.2

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ValueError(f"share is {self.share}; it is a multiple of an equal share of the budget, above 0")

    def most_nodes(self, budget: int, requests: int) -> float:
        """Draft tokens of one request in the first phase at most: n_max less the root."""
        return math.inf if self.share == math.inf else max(0, int(self.share * budget / requests) - 1)


PAPER = Rules()

Spend = Callable[[Floats, float, int], int]
"""How many to verify of the candidates that the first phase leaves: by their falling path probabilities, the tokens expected so
far, and the draft tokens chosen so far."""


def everything(likeliest: Floats, expected: float, chosen: int) -> int:
    """All that the budget holds: the paper."""
    return len(likeliest)


@dataclass(frozen=True, slots=True)
class Selected:
    """How much of each tree is verified, (n,) each. ``nodes``: draft tokens, from ``order`` (``Forest.best_first``) on.
    ``for_slo``: those of the first phase among them. ``expected``: tokens that the verification yields, the root's included.
    """

    nodes: Ints
    for_slo: Ints
    expected: Floats
    order: Ints

    def of(self, row: int) -> Ints:
        """The columns of one request's verified nodes, parents before children."""
        return self.order[row, : self.nodes[row]]


def needed_tokens(elapsed_s: Floats, step_s: float, tpot_s: Floats, tokens: Floats) -> Floats:
    """A(r) = (l + t_spec) / TPOT − o: tokens that each request needs from an iteration of ``step_s`` to be on schedule after it.

    ``elapsed_s``: l, since decoding started. ``tokens``: o, generated since then. ``tpot_s``: infinite = no objective. All (n,).
    """
    return np.where(np.isfinite(tpot_s), (elapsed_s + step_s) / tpot_s - tokens, -np.inf)


def select(forest: Forest, needed: Floats, budget: int, rules: Rules = PAPER, *, spend: Spend = everything) -> Selected:
    """The draft tokens to verify within ``budget`` tokens, of which every request's root takes one.

    ``needed``: (n,) A(r), the root's token included. ``spend``: how much of what the objectives leave goes into the second phase.
    O(n m log m): sorting the candidates.
    """
    order = forest.best_first()
    path = np.take_along_axis(forest.path, order, axis=1)
    there = path >= 0
    sizes = there.sum(axis=1)
    count = len(sizes)
    sums = np.cumsum(np.hstack([np.ones((count, 1)), np.where(there, path, 0.0)]), axis=1)
    left = max(0, budget - count)
    if rules.phases == "slo" and count:
        limit = np.minimum(sizes, rules.most_nodes(budget, count)).astype(np.int64)
        for_slo = _on_schedule(sums, needed, forest.depth, limit, left, rules)
        left -= int(for_slo.sum())
        if spend is not everything:
            free = path[there & (np.arange(path.shape[1]) >= for_slo[:, None])]
            likeliest = -np.sort(-free)[:left]
            left = spend(likeliest, float(sums[np.arange(count), for_slo].sum()), int(for_slo.sum()))
        nodes = for_slo + _likeliest(path, there, for_slo, left)
    elif rules.phases == "greedy":
        for_slo = np.zeros(count, np.int64)
        nodes = _likeliest(path, there, for_slo, left)
    else:
        for_slo = np.zeros(count, np.int64)
        nodes = np.minimum(sizes, left // max(count, 1) + (np.arange(count) < left % max(count, 1)))
    return Selected(nodes, for_slo, sums[np.arange(count), nodes], order)


def _on_schedule(sums: Floats, needed: Floats, depth: Ints, limit: Ints, left: int, rules: Rules) -> Ints:
    """Nodes that bring each request to min(A(r), d + 1) expected tokens, served in order while tokens are left."""
    reach = np.minimum(needed, depth + 1)
    wanted = np.minimum((sums[:, :-1] < reach[:, None]).sum(axis=1), limit)
    turn = np.argsort(-needed if rules.order == "descending" else needed, kind="stable")
    wanted_in_turn = wanted[turn]
    before = np.cumsum(wanted_in_turn) - wanted_in_turn
    given: Ints = np.empty_like(wanted)
    given[turn] = np.clip(left - before, 0, wanted_in_turn)
    return given


def _likeliest(path: Floats, there: Bools, taken: Ints, left: int) -> Ints:
    """Of the nodes not yet taken the ``left`` likeliest of all requests, counted per request; ties go to the first request."""
    free = there & (np.arange(path.shape[1]) >= taken[:, None])
    values = path[free]
    if left <= 0:
        return np.zeros_like(taken)
    if left >= len(values):
        everything: Ints = free.sum(axis=1)
        return everything
    least = np.partition(values, len(values) - left)[len(values) - left]
    above = free & (path > least)
    ties = free & (path == least)
    spare = left - int(above.sum())
    ties &= np.cumsum(ties).reshape(ties.shape) <= spare
    nodes: Ints = above.sum(axis=1) + ties.sum(axis=1)
    return nodes
