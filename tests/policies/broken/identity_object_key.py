"""Counts what it has sent by engine object, not by the engine's id."""

from policies.decisions import Assign, Hold, Routing
from policies.types import EngineView, FleetView, RequestView

CAUGHT_BY = "identity"


class Policy:
    """Takes the engine that was sent the least."""

    def __init__(self) -> None:
        self._sent: dict[EngineView, int] = {}

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        best = min(engines, key=lambda engine: self._sent.get(engine, 0))
        self._sent[best] = self._sent.get(best, 0) + 1
        return Assign(best.id, "sent the least")
