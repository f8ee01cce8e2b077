"""Believes that every request has objectives."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "survival"


class Policy:
    """Orders requests by how urgent they are."""

    def plan(self, engine: EngineView) -> StepPlan:
        everyone = (*engine.running, *engine.waiting)
        order = sorted(everyone, key=lambda r: (r.arrival_s + r.slo.ttft_s, r.id))
        return StepPlan(engine.max_batched_tokens, order=[r.id for r in order], reason="earliest deadline first")
