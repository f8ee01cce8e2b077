"""Spreads tiers over engines by the hash of their names."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "determinism"


class Policy:
    """Gives every tier an engine of its own."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        return Assign(engines[hash(request.tier) % len(engines)].id, "the tier's engine") if engines else Hold("no engine")
