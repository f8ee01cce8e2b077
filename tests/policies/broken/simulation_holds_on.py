"""Waits for an idle engine: in a view that is old, none may ever be seen."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "simulation"


class Policy:
    """Takes an engine without any request; long prompts wait for one that has never served any."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        for engine in fleet.engines:
            idle = engine.model == request.model and not engine.running_count + engine.waiting_count
            if idle and (engine.step == 0 or request.prompt_tokens < 3000):
                return Assign(engine.id, "idle")
        return Hold("no idle engine")
