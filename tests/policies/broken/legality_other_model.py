"""Does not look at which model an engine serves."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "legality"


class Policy:
    """Takes the least loaded engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        best = min(fleet.engines, key=lambda engine: engine.running_count, default=None)
        return Hold("no engine") if best is None else Assign(best.id, "least loaded")
