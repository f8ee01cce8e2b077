"""Takes the first engine out of a set of names."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "determinism"


class Policy:
    """Takes any of the least loaded engines."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        least = min(engine.running_count + engine.waiting_count // 4 for engine in engines)
        free = {engine.id for engine in engines if engine.running_count <= least + 2}
        return Assign(next(iter(free)), "one of the least loaded")
