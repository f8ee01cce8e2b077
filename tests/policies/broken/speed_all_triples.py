"""Compares every engine with every pair of others."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "speed"


class Policy:
    """Takes the engine that most pairs of engines have more load than."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model][:64]
        if not engines:
            return Hold("no engine")
        loads = [engine.running_count for engine in engines]
        wins = [sum(2 * mine <= max(a, b) + min(a, b) for a in loads for b in loads) for mine in loads]
        return Assign(engines[wins.index(max(wins))].id, "below most pairs")
