"""Has a debugging print left in it."""

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "io"


class Policy:
    """Takes the first engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        if not fleet.engines:
            return Hold("no engine")
        print("routing", request.id)
        return Assign(fleet.engines[0].id, "the first")
