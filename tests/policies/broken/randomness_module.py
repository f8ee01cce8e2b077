"""Draws with the random module."""

from random import choice

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "randomness"


class Policy:
    """Takes a random engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        return Assign(choice(engines).id, "drawn") if engines else Hold("no engine")
