"""Lets in whoever has ever waited, those who have long been running included."""

from policies.decisions import StepPlan
from policies.types import StepView

CAUGHT_BY = "legality"


class Policy:
    """Lets requests in oldest first."""

    def __init__(self) -> None:
        self._line: list[int] = []

    def plan(self, engine: StepView) -> StepPlan:
        self._line += [request.id for request in engine.arrived]
        return StepPlan(engine.max_batched_tokens, admit=tuple(self._line), reason="oldest first")
