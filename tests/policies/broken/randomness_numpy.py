"""Draws from numpy's global generator, deep inside a computation."""

import numpy as np

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "randomness"


class Policy:
    """Takes the least loaded engine, with a little noise against herding."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [engine for engine in fleet.engines if engine.model == request.model]
        if not engines:
            return Hold("no engine")
        loads = np.array([engine.running_count for engine in engines]) + np.random.normal(0, 0.1, len(engines))  # noqa: NPY002
        return Assign(engines[int(loads.argmin())].id, "least loaded, with noise")
