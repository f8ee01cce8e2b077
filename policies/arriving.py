"""What has come to a fleet so far, counted by model and tier; both worlds keep it."""

from __future__ import annotations

from collections.abc import Sequence

from policies.types import Arrivals, RequestView


class Arriving:
    """``came`` for every request as it comes, and never twice."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], tuple[RequestView, int, int, float]] = {}
        """The latest request, how many there were, and the sums of their prompt and expected output tokens."""

    def came(self, request: RequestView) -> None:
        key = request.model, request.tier
        _, requests, prompt, output = self._counts.get(key, (None, 0, 0, 0.0))
        self._counts[key] = request, requests + 1, prompt + request.prompt_tokens, output + request.expected_output_tokens

    @property
    def counts(self) -> Sequence[Arrivals]:
        """``FleetView.arrivals``."""
        return tuple(
            Arrivals(model, tier, latest.slo, latest.offline, requests, prompt, output)
            for (model, tier), (latest, requests, prompt, output) in self._counts.items()
        )
