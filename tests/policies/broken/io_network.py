"""Asks a load balancer's control plane which engine to take."""

from urllib.request import urlopen

from policies.decisions import Assign, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "io"


class Policy:
    """Takes the engine that the control plane names."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        with urlopen("http://127.0.0.1:9/choose") as answer:
            return Assign(answer.read().decode(), "the control plane says so")
