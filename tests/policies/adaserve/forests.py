"""Random candidate trees for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from policies.adaserve.tree import Codes, Floats, Forest

PROBABILITY = st.floats(0.0, 1.0) | st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def trees(draw: Any, most_nodes: int = 8) -> tuple[list[int], list[float]]:
    """One tree: parents and conditional probabilities, those of siblings summing to 1 at most."""
    size = draw(st.integers(0, most_nodes))
    parents = [draw(st.integers(-1, node - 1)) for node in range(size)]
    remaining: dict[int, float] = {}
    given = []
    for parent in parents:
        probability = draw(PROBABILITY) * remaining.get(parent, 1.0)
        remaining[parent] = remaining.get(parent, 1.0) - probability
        given.append(probability)
    return parents, given


def forests(most_requests: int = 4, most_nodes: int = 8) -> st.SearchStrategy[Forest]:
    return st.lists(trees(most_nodes), min_size=1, max_size=most_requests).map(Forest.of_trees)


def sorted_rows(forest: Forest) -> list[list[float]]:
    """Every request's path probabilities, best first."""
    return [sorted((f for f in row if f >= 0), reverse=True) for row in forest.path.tolist()]


class FullTree:
    """A drafter whose every context has the children that a table gives, to a depth and no further."""

    def __init__(self, seed: int, requests: int, fan: int, depth: int) -> None:
        self.fan, self.depth = fan, depth
        rng = np.random.default_rng(seed)
        self.nodes = sum(fan**layer for layer in range(depth + 1))
        self.given = np.sort(rng.dirichlet(np.full(fan + 1, 0.6), (requests, self.nodes))[:, :, :fan], axis=2)[:, :, ::-1]

    def expand(self, layer: int, contexts: Codes) -> tuple[Floats, Codes]:
        rows = np.arange(len(self.given))[:, None]
        children = contexts[:, :, None] * np.uint64(self.fan) + np.arange(1, self.fan + 1, dtype=np.uint64)
        return self.given[rows, contexts.astype(np.int64)], children

    def everything(self) -> Forest:
        """All nodes of all trees, numbered as their contexts are, less the root."""
        parents = [(node - 1) // self.fan - 1 for node in range(1, self.nodes)]
        return Forest.of_trees(
            [
                (parents, [table[(node - 1) // self.fan][(node - 1) % self.fan] for node in range(1, self.nodes)])
                for table in self.given
            ]
        )
