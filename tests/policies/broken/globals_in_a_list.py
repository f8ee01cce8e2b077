"""Keeps its turn in a module's list, without a `global` statement."""

from itertools import count

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "globals"
_turns = count()


class Policy:
    """Takes the engines in turn."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        return Assign(engines[next(_turns) % len(engines)].id, "next in turn") if engines else Hold("no engine")
