"""Keeps the requests that it was shown, and looks into them some calls later."""

from policies.decisions import StepPlan
from policies.types import EngineView, RequestView

CAUGHT_BY = "rebuild"


class Policy:
    """Lets prompts that share a prefix with an earlier one go first.

    Every field that it reads is one that never changes. But what is not read in the call that shows it is not in the log.
    """

    def __init__(self) -> None:
        self._seen: dict[int, RequestView] = {}

    def plan(self, engine: EngineView) -> StepPlan:
        prefixes = {request.prefix_blocks[0] for request in self._seen.values() if request.prefix_blocks}
        known = [r.id for r in engine.waiting if r.id in self._seen and r.prefix_blocks and r.prefix_blocks[0] in prefixes]
        self._seen.update({request.id: request for request in engine.waiting})
        return StepPlan(engine.max_batched_tokens, order=known, reason="known prefixes first")
