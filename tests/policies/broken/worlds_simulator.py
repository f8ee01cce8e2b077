"""Looks whether it is running in the simulator."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView
from sim.engine import Engine

CAUGHT_BY = "worlds"


class Policy:
    """Takes the engine with the fewest running requests; looks straight into it where it can."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        best = min(engines, key=lambda e: len(e.scheduler.running) if isinstance(e, Engine) else e.running_count)
        return Assign(best.id, "fewest running")
