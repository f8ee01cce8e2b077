"""Sticks to an engine that has left the view."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "legality"


class Policy:
    """Stays with the engine of the tier's first request."""

    def __init__(self) -> None:
        self._engine: dict[str, str] = {}

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        return Assign(self._engine.setdefault(request.tier, engines[0].id), "the tier's engine")
