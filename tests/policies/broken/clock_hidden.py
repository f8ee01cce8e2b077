"""Reaches the clock without an import statement, where no reading of the source finds it."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "clock"


class Policy:
    """Takes an engine by the second."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        if not fleet.engines:
            return Hold("no engine")
        second = int(__import__("time").time())
        return Assign(fleet.engines[second % len(fleet.engines)].id, "by the second")
