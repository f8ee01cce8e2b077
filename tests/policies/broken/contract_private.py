"""Reads a private attribute that only the simulator's requests have."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "contract"


class Policy:
    """Leaves requests out that have computed nothing yet while others run."""

    def plan(self, engine: EngineView) -> StepPlan:
        late = {r.id: 0 for r in engine.waiting if getattr(r, "_computed", 0) == 0 and engine.running_count > 500}
        return StepPlan(engine.max_batched_tokens, caps=late, reason="those that run first")
