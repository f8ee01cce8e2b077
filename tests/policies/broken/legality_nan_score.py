"""Scores by a ratio that is not a number on an idle engine."""

from math import inf, nan

from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView

CAUGHT_BY = "legality"


class Policy:
    """Takes the engine with the smallest share of waiting requests."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        scores = [
            _share(engine.waiting_count, engine.running_count) if engine.model == request.model else inf for engine in fleet.engines
        ]
        if not any(score < inf for score in scores):
            return Hold("no engine")
        return Assign(fleet.engines[scores.index(min(scores))].id, "smallest share waiting", tuple(scores))


def _share(waiting: int, running: int) -> float:
    return waiting / (waiting + running) if waiting + running else nan
