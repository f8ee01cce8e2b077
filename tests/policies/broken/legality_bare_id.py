"""Returns an engine's id in place of a decision."""

from policies.types import FleetView, RequestView

CAUGHT_BY = "legality"


class Policy:
    """Takes the first engine."""

    def route(self, request: RequestView, fleet: FleetView) -> str | None:
        return next((engine.id for engine in fleet.engines if engine.model == request.model), None)
