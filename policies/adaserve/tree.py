"""Candidate draft trees of a batch, as arrays: what the drafter proposes, before anything is selected.

A node is a draft token; its *path probability* f is the probability that all draft tokens from the root to it are accepted, the
product of the conditional ones. The root is the token that a verification always yields: it is no node, costs one token of the
budget, and counts one expected token, once, in ``selection``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.uint64]

NO_NODE = -1.0
"""Path probability where a row of a forest has no more nodes."""
ROOT = -1
"""Parent of the nodes of the first layer."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Candidate trees of n requests with m nodes at most, one row each; a parent comes before its children.

    ``path``: (n, m) path probabilities, ``NO_NODE`` past a row's last node. ``parents``: (n, m) columns of the parents, or
    ``ROOT``. ``depth``: (n,) draft tokens on each tree's longest path.
    """

    path: Floats
    parents: Ints
    depth: Ints

    @classmethod
    def of_chains(cls, given: Sequence[Sequence[float]]) -> Forest:
        """Chains from their conditional probabilities."""
        lengths = np.array([len(row) for row in given], np.int64)
        widest = int(lengths.max(initial=0))
        columns = np.arange(widest)
        there = columns < lengths[:, None]
        table = np.ones((len(given), widest))
        table[there] = np.fromiter(chain.from_iterable(given), np.float64, int(lengths.sum()))
        path = np.where(there, np.cumprod(table, axis=1), NO_NODE)
        return cls(path, np.broadcast_to(columns - 1, path.shape), lengths)

    @classmethod
    def of_trees(cls, trees: Sequence[tuple[Sequence[int], Sequence[float]]]) -> Forest:
        """Trees, each as its nodes' parents and conditional probabilities.

        Raises:
            ValueError: a node comes before its parent.
        """
        sizes = np.array([len(parents) for parents, _ in trees], np.int64)
        widest = int(sizes.max(initial=0))
        columns = np.arange(widest)
        there = columns < sizes[:, None]
        parents, given = np.full(there.shape, ROOT), np.zeros(there.shape)
        parents[there] = np.fromiter(chain.from_iterable(row for row, _ in trees), np.int64, int(sizes.sum()))
        given[there] = np.fromiter(chain.from_iterable(row for _, row in trees), np.float64, int(sizes.sum()))
        if len(wrong := np.argwhere(there & ((parents < ROOT) | (parents >= columns)))):
            row, node = wrong[0]
            raise ValueError(f"tree {row}: node {node} has parent {parents[row, node]}; a parent comes before its children")
        path, depth = np.full(there.shape, NO_NODE), np.zeros(there.shape, np.int64)
        rows = np.arange(len(trees))
        for node in range(widest):
            parent = parents[:, node]
            rooted = parent == ROOT
            path[:, node] = np.where(there[:, node], given[:, node] * np.where(rooted, 1.0, path[rows, parent]), NO_NODE)
            depth[:, node] = np.where(there[:, node], np.where(rooted, 1, depth[rows, parent] + 1), 0)
        return cls(path, parents, depth.max(axis=1, initial=0))

    def given(self) -> Floats:
        """(n, m): conditional probabilities, 0 past a row's last node."""
        whole = np.hstack([np.maximum(self.path, 0.0), np.ones((len(self.path), 1))])  # a last column for the roots, which −1 finds
        parent = np.take_along_axis(whole, np.where(self.parents == ROOT, whole.shape[1] - 1, self.parents), axis=1)
        given: Floats = np.divide(whole[:, :-1], parent, out=np.zeros_like(self.path), where=parent > 0)
        return given

    def deviation(self) -> Floats:
        """(n,): standard deviation of how many draft tokens are accepted if all candidates are verified.

        At least j are where some node of layer j is, so that the squares' mean is Σ (2 layer − 1) f over all nodes.
        """
        layer = np.zeros((len(self.path), self.path.shape[1] + 1), np.int64)  # a last column for the roots, which −1 finds
        rows = np.arange(len(self.path))
        for node in range(self.path.shape[1]):
            layer[:, node] = layer[rows, self.parents[:, node]] + 1
        path = np.maximum(self.path, 0.0)
        squares = ((2 * layer[:, :-1] - 1) * path).sum(axis=1)
        found: Floats = np.sqrt(np.maximum(squares - path.sum(axis=1) ** 2, 0.0))
        return found

    def best_first(self) -> Ints:
        """(n, m): each row's nodes by falling path probability, parents before children where they tie.

        No child is likelier than its parent, so every prefix of a row is a tree that hangs together.
        """
        return np.argsort(-self.path, axis=1, kind="stable")


class Drafter(Protocol):
    """The next tokens that a draft model proposes after given paths, for all requests at once."""

    def expand(self, layer: int, contexts: Codes) -> tuple[Floats, Codes]:
        """Conditional probabilities of c children of each context, and their own contexts; both (n, k, c).

        ``contexts``: (n, k) names of the paths so far, all 0 at the root. ``layer``: draft tokens on these paths.
        """


def beam(drafter: Drafter, requests: int, depth: int, width: int) -> tuple[Forest, Codes]:
    """Step 1, speculation: beam search that keeps the ``width`` likeliest paths of every layer, for all requests in parallel.

    Returns the candidate trees, of at most depth × width nodes, and the context of every node, (n, m). Every layer after the first
    costs one pass of the draft model over n × width tokens. Source: AdaServe, §5.
    """
    frontier: Codes = np.zeros((requests, 1), np.uint64)
    reach = np.ones((requests, 1))
    columns = np.full((requests, 1), ROOT)
    rows = np.arange(requests)[:, None]
    paths, parents, contexts = [], [], []
    nodes = 0
    for layer in range(depth):
        given, children = drafter.expand(layer, frontier)
        fan = given.shape[2]
        candidates = (reach[:, :, None] * given).reshape(requests, -1)
        kept = np.argsort(-candidates, axis=1, kind="stable")[:, :width]
        reach = candidates[rows, kept]
        frontier = children.reshape(requests, -1)[rows, kept]
        paths.append(reach)
        parents.append(columns[rows, kept // fan])
        contexts.append(frontier)
        columns = np.broadcast_to(np.arange(nodes, nodes + reach.shape[1]), reach.shape)
        nodes += reach.shape[1]
    if not depth:
        return Forest(np.empty((requests, 0)), np.empty((requests, 0), np.int64), np.zeros(requests, np.int64)), frontier[:, :0]
    forest = Forest(np.hstack(paths), np.hstack(parents), np.full(requests, depth))
    return forest, np.hstack(contexts)
