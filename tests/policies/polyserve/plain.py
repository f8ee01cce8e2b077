"""PolyServe's router without its index: every engine is looked at for every request."""

from __future__ import annotations

from policies.decisions import Routing
from policies.polyserve.gradient import Gradients, load
from policies.polyserve.router import PolyServe
from policies.types import EngineView, FleetView, RequestView, Role


class PlainScan(PolyServe):
    """PolyServe's router that sorts a tier's engines anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[EngineView] = []
        self._crammed: dict[str, int] = {}

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        self._shown = list(fleet.engines)
        return super().route(request, fleet)

    def _fullest(
        self, request: RequestView, gradients: Gradients, tier: str | None, budget: float, late: bool
    ) -> EngineView | None:
        mine = [e for e in self._shown if e.model == request.model and e.tier == tier]
        for engine in mine:
            if load(engine) < self._crammed.get(engine.id, 0):
                del self._crammed[engine.id]
        for engine in sorted(mine, key=load, reverse=True):
            if engine.id in self._crammed:
                continue
            verdict = self._admission.decode(request, engine, self._kept(engine, budget), prefill=engine.role is not Role.DECODE)
            if not verdict.refused or (late and verdict.refused in ("ttft", "second token")) or not load(engine):
                return engine
            if verdict.full and tier is not None:
                self._crammed[engine.id] = load(engine)
        return None
