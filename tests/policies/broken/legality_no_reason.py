"""Plans without saying why."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "legality"


class Policy:
    """Fills every step."""

    def plan(self, engine: EngineView) -> StepPlan:
        return StepPlan(engine.max_batched_tokens)
