"""A router that reads what only an engine's own batcher is told."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "contract"


class Policy:
    """Takes the engine to which the fewest requests have come lately."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [e for e in fleet.engines if e.model == request.model]
        if not engines:
            return Hold("no engine")
        return Assign(min(engines, key=lambda e: len(e.arrived)).id, "fewest arrivals")  # type: ignore[attr-defined]
