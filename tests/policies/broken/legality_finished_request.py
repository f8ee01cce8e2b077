"""Caps a request that has left the engine."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "legality"


class Policy:
    """Lets long prompts prefill in pieces of 256 tokens."""

    def __init__(self) -> None:
        self._long: set[int] = set()

    def plan(self, engine: EngineView) -> StepPlan:
        self._long |= {request.id for request in engine.waiting if request.prompt_tokens > 2000}
        return StepPlan(engine.max_batched_tokens, caps=dict.fromkeys(sorted(self._long), 256), reason="long prompts in pieces")
