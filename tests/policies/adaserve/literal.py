"""AdaServe's Algorithm 2 as it is printed, with loops and a heap: what the fast selection must equal, and is measured against."""

from __future__ import annotations

import heapq
import math

from policies.adaserve.selection import Rules


def literal_select(paths: list[list[float]], needed: list[float], depths: list[int], budget: int, rules: Rules) -> list[int]:
    """Draft tokens per request; ``paths``: each request's path probabilities, best first. Phases ``slo`` and ``greedy`` only."""
    requests = range(len(paths))
    left = budget - len(paths)
    accepted = [1.0] * len(paths)
    taken = [0] * len(paths)
    most = math.inf if rules.share == math.inf else int(rules.share * budget / max(len(paths), 1))
    if rules.phases == "slo":
        for r in sorted(requests, key=lambda r: -needed[r] if rules.order == "descending" else needed[r]):
            cap = min(needed[r], depths[r] + 1)
            while accepted[r] < cap and 1 + taken[r] < most and left > 0 and taken[r] < len(paths[r]):
                accepted[r] += paths[r][taken[r]]
                taken[r] += 1
                left -= 1
    heap = [(-paths[r][taken[r]], r) for r in requests if taken[r] < len(paths[r])]
    heapq.heapify(heap)
    while left > 0 and heap:
        _, r = heapq.heappop(heap)
        taken[r] += 1
        left -= 1
        if taken[r] < len(paths[r]):
            heapq.heappush(heap, (-paths[r][taken[r]], r))
    return taken
