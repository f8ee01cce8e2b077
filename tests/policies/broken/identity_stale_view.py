"""Keeps the first view of an engine, and takes it for the present one."""

from policies.decisions import Assign, Hold, Routing
from policies.types import EngineView, FleetView, RequestView

CAUGHT_BY = "identity"


class Policy:
    """Takes the engine with the fewest running requests."""

    def __init__(self) -> None:
        self._known: dict[str, EngineView] = {}

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [self._known.setdefault(e.id, e) for e in fleet.engines if e.model == request.model]
        best = min(engines, key=lambda engine: engine.running_count, default=None)
        return Hold("no engine") if best is None else Assign(best.id, "fewest running")
