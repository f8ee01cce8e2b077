"""Routes by the day of the week, through a name that was imported from datetime."""

from datetime import datetime as when

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "clock"


class Policy:
    """Takes the last engine at weekends."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        if not fleet.engines:
            return Hold("no engine")
        return Assign(fleet.engines[-1 if when.now().weekday() > 4 else 0].id, "by the day")
