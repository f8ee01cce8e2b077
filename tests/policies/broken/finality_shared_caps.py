"""Hands out the same dictionary every time, and keeps changing it."""

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "finality"


class Policy:
    """Lets the prompts of waiting requests prefill in pieces of 256 tokens."""

    def __init__(self) -> None:
        self._caps: dict[int, int] = {}

    def plan(self, engine: EngineView) -> StepPlan:
        self._caps.clear()
        self._caps.update({request.id: 256 for request in engine.waiting})
        return StepPlan(engine.max_batched_tokens, caps=self._caps, reason="prompts in pieces")
