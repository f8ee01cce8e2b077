"""Policies that are sound, some of them with a flaw that is worth a word, in a module that holds nothing else."""

from __future__ import annotations

from policies.decisions import Assign, Hold, Routing, StepPlan
from policies.types import EngineView, FleetView, RequestView


class Modest:
    """Takes the first engine of the model."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engine = next((e for e in fleet.engines if e.model == request.model), None)
        return Hold("no engine") if engine is None else Assign(engine.id, "the first")


class Terse:
    def __init__(self, *, width=3) -> None:
        self.width = width

    def plan(self, engine: EngineView) -> StepPlan:
        return StepPlan(min(engine.max_batched_tokens, 100 * self.width), reason="a fixed budget")


class Spread:
    """Spreads requests by the hash of a number, which is the same everywhere."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [e for e in fleet.engines if e.model == request.model]
        return Assign(engines[hash(request.id) % len(engines)].id, "by id") if engines else Hold("no engine")


class OracleShortest:
    """Sends answers that will be short to the first engine: an upper bound, and called one."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [e for e in fleet.engines if e.model == request.model]
        short = request.true_output_tokens < 100  # type: ignore[attr-defined]
        return Assign(engines[0 if short else -1].id, "by the true length") if engines else Hold("no engine")


class PeekingShortest(OracleShortest):
    """The same, and not called one."""


class Tuned:
    """Takes the engine with the smallest weighted load.

    Args:
        weight: of waiting requests, at least 0.
    """

    def __init__(self, weight: float) -> None:
        if weight < 0:
            raise ValueError(f"weight is {weight}; it is at least 0")
        self.weight = weight

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [e for e in fleet.engines if e.model == request.model]
        best = min(engines, key=lambda e: e.running_count + self.weight * e.waiting_count, default=None)
        return Hold("no engine") if best is None else Assign(best.id, "smallest weighted load")


class Both(Modest):
    """A router, and a batcher too."""

    def plan(self, engine: EngineView) -> StepPlan:
        return StepPlan(engine.max_batched_tokens, reason="all")


class Pairs:
    """Takes the engine that most others have more load than: fine for a few engines, slow for many."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = [e for e in fleet.engines if e.model == request.model]
        if not engines:
            return Hold("no engine")
        loads = [e.running_count for e in engines]
        below = [sum(mine <= other for other in loads) for mine in loads]
        return Assign(engines[below.index(max(below))].id, "below most others")
