"""Writes what it does into a file of its own, through an innocent-looking library."""

import numpy as np

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "io"


class Policy:
    """Takes the first engine, and keeps a diary."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        np.save("/tmp/diary-of-a-router.npy", np.array([request.id]))
        return Assign(fleet.engines[0].id, "the first") if fleet.engines else Hold("no engine")
