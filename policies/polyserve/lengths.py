"""What is believed of output lengths: a prior, then a running mean per tier (the average decode length, arXiv 2507.17769, §4.5)."""

from __future__ import annotations

from collections.abc import Iterable

from policies.types import Completed, RequestView

PRIOR_WEIGHT = 100
"""Completed requests that the prior counts for. The first to complete are short ones, which must not tell alone."""
MEMORY = 1000
"""Completed requests over which the mean runs: it follows a workload that changes."""


class OutputLengths:
    """The mean output length of each model's tiers.

    At first what a request comes with (``expected_output_tokens``); every completed request then moves the tier's mean by its share
    of ``PRIOR_WEIGHT`` and the requests so far, of ``MEMORY`` at least.
    """

    __slots__ = ("_means",)

    def __init__(self) -> None:
        self._means: dict[tuple[str, float | None], tuple[int, float]] = {}
        """By model and TPOT in seconds: requests that the mean rests on, and the mean."""

    def learn(self, completed: Iterable[Completed]) -> None:
        """Requests have come to their lengths."""
        for request in completed:
            tier = request.model, request.slo.tpot_s
            count, mean = self._means.get(tier) or (PRIOR_WEIGHT, request.expected_output_tokens)
            count = min(count + 1, MEMORY)
            self._means[tier] = count, mean + (request.output_tokens - mean) / count

    def expected(self, request: RequestView | Completed) -> float:
        """Tokens that the request is expected to generate in all."""
        known = self._means.get((request.model, request.slo.tpot_s))
        return request.expected_output_tokens if known is None else known[1]
