"""AdaServe's Algorithm 1: the best there is to verify, where the true path probabilities are known (arXiv 2501.12162, §4)."""

from __future__ import annotations

import heapq

import numpy as np

from policies.adaserve.selection import Selected
from policies.adaserve.tree import Floats, Forest


def optimal(forest: Forest, needed: Floats, budget: int) -> Selected | None:
    """The trees with the most expected tokens within ``budget`` that give every request ``needed`` of them, roots counted in both;
    ``None`` where no selection does (the paper's INVALID).

    Greedy is optimal: no child is likelier than its parent, so the k likeliest nodes hang together, and no other k sum to more.
    """
    order = forest.best_first()
    rows = [[forest.path[row, node] for node in order[row] if forest.path[row, node] >= 0] for row in range(len(order))]
    left = budget - len(rows)
    if left < 0:
        return None
    expected, taken = [1.0] * len(rows), [0] * len(rows)
    for request, row in enumerate(rows):
        while expected[request] < needed[request]:
            if not left or taken[request] == len(row):
                return None
            expected[request] += row[taken[request]]
            taken[request] += 1
            left -= 1
    for_slo = list(taken)
    heap = [(-row[at], request) for request, (row, at) in enumerate(zip(rows, taken, strict=True)) if at < len(row)]
    heapq.heapify(heap)
    while heap and left:
        minus, request = heapq.heappop(heap)
        expected[request] -= minus
        taken[request] += 1
        left -= 1
        if taken[request] < len(rows[request]):
            heapq.heappush(heap, (-rows[request][taken[request]], request))
    return Selected(np.array(taken, np.int64), np.array(for_slo, np.int64), np.array(expected), order)
