"""Knows how long the answer will be, where the simulator lets it."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "future"


class Policy:
    """Sends long answers to the last engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        tokens = getattr(request, "true_" + "output_tokens", request.expected_output_tokens)
        return Assign(engines[-1 if tokens > 200 else 0].id, "by the length of the answer")
