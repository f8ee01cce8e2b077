"""Gives scores for the engines that it considered, not for those of the view."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "legality"


class Policy:
    """Takes the less loaded of the first two engines."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model][:2]
        if not engines:
            return Hold("no engine")
        scores = tuple(engine.running_count for engine in engines)
        return Assign(engines[scores.index(min(scores))].id, "less loaded of two", scores)
