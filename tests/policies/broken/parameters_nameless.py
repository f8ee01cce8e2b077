"""Takes its parameters by position, any number of them."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "parameters"


class Policy:
    """Takes the budgets in turn."""

    def __init__(self, *budgets: int) -> None:
        self._budgets = budgets or (512,)
        self._turn = 0

    def plan(self, engine: EngineView) -> StepPlan:
        self._turn += 1
        return StepPlan(min(self._budgets[self._turn % len(self._budgets)], engine.max_batched_tokens), reason="next budget")
