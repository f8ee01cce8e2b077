"""Counts in a global variable."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "globals"
turn = 0


class Policy:
    """Takes the engines in turn."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        global turn
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        turn += 1
        return Assign(engines[turn % len(engines)].id, "next in turn") if engines else Hold("no engine")
