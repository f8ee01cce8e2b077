"""Has never seen an empty fleet."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "survival"


class Policy:
    """Takes the least loaded engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        best = min(fleet.engines, key=lambda engine: (engine.model != request.model, engine.running_count))
        return Assign(best.id, "least loaded") if best.model == request.model else Hold("no engine of the model")
