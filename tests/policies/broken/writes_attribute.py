"""Marks the requests that it has seen."""

from contextlib import suppress

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "writes"


class Policy:
    """Takes the first engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        with suppress(AttributeError):
            request.tier = "seen"  # type: ignore[misc]
        return Assign(fleet.engines[0].id, "the first") if fleet.engines else Hold("no engine")
