"""Takes a knob from an environment variable."""

import os

from policies.decisions import StepPlan
from policies.types import EngineView

CAUGHT_BY = "environment"


class Policy:
    """Limits a step to CHUNK tokens."""

    def plan(self, engine: EngineView) -> StepPlan:
        return StepPlan(min(engine.max_batched_tokens, int(os.environ.get("CHUNK", "512"))), reason="a chunk")
