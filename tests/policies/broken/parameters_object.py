"""Takes a function for a parameter."""

from collections.abc import Callable

from policies.decisions import Assign, Hold, Routing
from policies.types import EngineView, FleetView, RequestView

CAUGHT_BY = "parameters"


class Policy:
    """Takes the engine with the smallest load, however it is measured.

    Args:
        load: measures an engine's load.
    """

    def __init__(self, *, load: Callable[[EngineView], float] = lambda engine: engine.running_count) -> None:
        self._load = load

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        best = min(engines, key=self._load, default=None)
        return Hold("no engine") if best is None else Assign(best.id, "smallest load")
