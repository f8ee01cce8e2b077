"""AdaServe's selection, n = 64 requests and B = 512 tokens: ``python -m pytest benchmarks/test_adaserve.py``.

Candidates are as deep and wide as the artifact's (8 × 3), and chains of 8. The printed algorithm, with loops and a heap, beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.adaserve.selection import PAPER, select
from policies.adaserve.tree import Codes, Floats, Forest, beam
from tests.policies.adaserve.literal import literal_select

REQUESTS, BUDGET, DEPTH, WIDTH = 64, 512, 8, 3
NEEDED = np.linspace(0.5, 9.0, REQUESTS)


class Random:
    """A drafter with children of random probabilities."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)

    def expand(self, layer: int, contexts: Codes) -> tuple[Floats, Codes]:
        given = np.sort(self.rng.dirichlet((3, 1, 1, 1), contexts.shape)[:, :, :WIDTH])[:, :, ::-1]
        return given, np.repeat(contexts[:, :, None], WIDTH, axis=2)


TREES = beam(Random(), REQUESTS, DEPTH, WIDTH)[0]
CHAINS = np.random.default_rng(7).beta(4, 1, (REQUESTS, DEPTH)).tolist()


def test_trees(benchmark: Any) -> None:
    selected = benchmark(select, TREES, NEEDED, BUDGET)
    assert selected.nodes.sum() == BUDGET - REQUESTS


def test_chains_from_their_conditional_probabilities(benchmark: Any) -> None:
    selected = benchmark(lambda: select(Forest.of_chains(CHAINS), NEEDED, BUDGET))
    assert selected.nodes.sum() == min(BUDGET - REQUESTS, REQUESTS * DEPTH)


def test_trees_with_a_heap(benchmark: Any) -> None:
    def run() -> list[int]:
        rows = (-np.sort(-TREES.path, axis=1)).tolist()
        return literal_select(rows, NEEDED.tolist(), TREES.depth.tolist(), BUDGET, PAPER)

    taken = benchmark(run)
    assert taken == select(TREES, NEEDED, BUDGET).nodes.tolist()
