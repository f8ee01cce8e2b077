"""Makes a generator of its own, and does not seed it."""

import numpy as np

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "randomness"


class Policy:
    """Takes a random engine."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        return Assign(engines[self._rng.integers(len(engines))].id, "drawn") if engines else Hold("no engine")
