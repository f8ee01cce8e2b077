"""Lets offline requests sit out as long as there is anything else, itself included."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "simulation"


class Policy:
    """Runs offline requests only beside nothing at all."""

    def plan(self, engine: EngineView) -> StepPlan:
        everyone = (*engine.running, *engine.waiting)
        caps = {request.id: 0 for request in everyone if request.offline}
        return StepPlan(engine.max_batched_tokens, caps=caps, valid_steps=8, reason="online first")
