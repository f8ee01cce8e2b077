"""Stops the engine when its KV memory is full."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "legality"


class Policy:
    """Fills a step with as many tokens as there is KV memory for."""

    def plan(self, engine: EngineView) -> StepPlan:
        free = engine.kv_tokens_capacity - engine.kv_tokens_used
        return StepPlan(min(free, engine.max_batched_tokens), reason="as many as fit")
