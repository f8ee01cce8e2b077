"""Measures how long ago it was asked last, with the machine's clock."""

import time

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "clock"


class Policy:
    """Takes the first engine in quiet times and the last in busy ones."""

    def __init__(self) -> None:
        self._last = 0.0

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        if not fleet.engines:
            return Hold("no engine")
        now = time.monotonic()
        quiet, self._last = now - self._last > 1, now
        return Assign(fleet.engines[0 if quiet else -1].id, "by how busy it is")
