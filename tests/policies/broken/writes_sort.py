"""Sorts the fleet's engines in place."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "writes"


class Policy:
    """Takes the least loaded engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        if isinstance(engines, list):
            engines.sort(key=lambda engine: engine.running_count)
        return Assign(engines[0].id, "least loaded") if engines and engines[0].model == request.model else Hold("no engine")
