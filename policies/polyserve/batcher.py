"""PolyServe's dynamic chunking: prompts get what decodes leave of the TPOT budget (arXiv 2507.17769, §4.7)."""

from __future__ import annotations

from math import inf

from policies.polyserve.admission import largest_chunk
from policies.types import EngineView, Role, StepPlan


class PolyServe:
    """Gives each step the largest prefill chunk with which it still keeps the tightest TPOT objective on the engine.

    Decodes always run. When nothing but prompts is there, or no request has a TPOT objective, a step takes all that the engine
    allows. A chunk is at least ``min_chunk`` tokens, so that prompts get on even where decodes alone use up the budget.

    Args:
        min_chunk: tokens of prefill that a step takes whatever the budget says.
        margin: share of the TPOT budget that is left unused.

    Source: PolyServe, arXiv 2507.17769, §4.7.
    """

    __slots__ = ("margin", "min_chunk")

    def __init__(self, *, min_chunk: int = 64, margin: float = 0.0) -> None:
        if min_chunk < 1:
            raise ValueError(f"min_chunk is {min_chunk}; it must be at least 1")
        if not 0 <= margin < 1:
            raise ValueError(f"margin is {margin}; it is a share of the budget, from 0 to below 1")
        self.min_chunk = min_chunk
        self.margin = margin

    def plan(self, engine: EngineView) -> StepPlan:
        whole = engine.max_batched_tokens
        if engine.role is Role.PREFILL or not engine.pending_prefill_tokens:
            return StepPlan(whole, reason="nothing to weigh")
        decoding = [r for r in engine.running if r.prefilled_tokens >= r.prompt_tokens]
        budget = min((r.slo.tpot_s for r in (*engine.running, *engine.waiting) if r.slo.tpot_s is not None), default=inf)
        if not decoding or budget == inf:
            return StepPlan(whole, reason="no decode has an objective to keep")
        context = sum(r.prompt_tokens + r.generated_tokens for r in decoding)
        chunk = largest_chunk(engine.latency, len(decoding), context, budget * (1 - self.margin), whole - len(decoding))
        chunk = max(chunk, self.min_chunk)
        return StepPlan(min(whole, len(decoding) + chunk), valid_steps=1, reason=f"chunk of {chunk} within {budget * 1e3:g} ms")
