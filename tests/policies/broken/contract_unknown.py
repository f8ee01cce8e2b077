"""Reads what vLLM's engines tell and no view does."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "contract"


class Policy:
    """Takes the engine with the best prefix cache hit rate."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        return Assign(max(engines, key=lambda e: getattr(e, "prefix_cache_hit_rate", 0.0)).id, "best hit rate")
