"""Keeps what it has seen in a default argument."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "globals"


class Policy:
    """Halves the budget for a batch size that it has seen before."""

    def plan(self, engine: EngineView, seen: list[int] = []) -> StepPlan:  # noqa: B006
        again = engine.running_count in seen
        seen.append(engine.running_count)
        return StepPlan(max(1, engine.max_batched_tokens // (2 if again else 1)), reason="less the second time")
