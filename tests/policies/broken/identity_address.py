"""Breaks ties by where an engine lies in memory."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "identity"


class Policy:
    """Takes the engine with the fewest running requests."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        best = min(engines, key=lambda engine: (engine.running_count, id(engine)), default=None)
        return Hold("no engine") if best is None else Assign(best.id, "fewest running")
