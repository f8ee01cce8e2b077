"""Numbers the engines when it first sees them, and does not expect new ones."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "survival"


class Policy:
    """Takes the engine that it has sent the least to."""

    def __init__(self) -> None:
        self._sent: dict[str, int] = {}

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        if not self._sent:
            self._sent = {engine.id: 0 for engine in engines}
        best = min(engines, key=lambda engine: (self._sent[engine.id], engine.id))
        self._sent[best.id] += 1
        return Assign(best.id, "sent the least to")
