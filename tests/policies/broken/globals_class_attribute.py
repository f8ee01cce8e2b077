"""Counts in an attribute of the class, which all its objects share."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "globals"


class Policy:
    """Takes the engine that was sent the least."""

    sent: dict[str, int] = {}  # noqa: RUF012

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        best = min(engines, key=lambda engine: self.sent.get(engine.id, 0))
        self.sent[best.id] = self.sent.get(best.id, 0) + 1
        return Assign(best.id, "sent the least")
