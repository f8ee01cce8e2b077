"""Keeps the engines that a tier has used before for that tier."""

from math import inf

from acme_routing.loads import fullness
from policies.decisions import Assign, Hold, Routing
from policies.types import FleetView, RequestView


class Tiers:
    """Prefers engines that the request's tier used last, unless they are fuller than the emptiest by ``margin``.

    Args:
        margin: requests per seat that staying with the tier's engines may cost.
        remember: engines kept for a tier, at least 1.
    """

    def __init__(self, *, margin: float = 0.05, remember: int = 2) -> None:
        if remember < 1:
            raise ValueError(f"remember is {remember}; keep at least 1 engine for a tier")
        self.margin = margin
        self.remember = remember
        self._used: dict[str, list[str]] = {}

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        used = self._used.setdefault(request.tier, [])
        scores = tuple(
            fullness(engine) - (self.margin if engine.id in used else 0.0) if engine.model == request.model else inf
            for engine in fleet.engines
        )
        best = min(scores, default=inf)
        if best == inf:
            return Hold(f"no active engine serves {request.model}")
        engine = fleet.engines[scores.index(best)]
        if engine.id in used:
            used.remove(engine.id)
        used.append(engine.id)
        del used[: -self.remember]
        return Assign(engine.id, "emptiest, the tier's own preferred", scores)
