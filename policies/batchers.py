"""Baseline batchers: a fixed token budget per step, filled by the engine in its own order (running before waiting)."""

from __future__ import annotations

import math

from policies.decisions import StepPlan
from policies.types import EngineView


class VLLM:
    """Fills every step up to the engine's ``max_batched_tokens``, chunking the prompt that does not fit: vLLM V1's default.

    Source: vLLM V1, ``Scheduler.schedule`` (vllm/v1/core/sched/scheduler.py).
    """

    __slots__ = ("_plan",)

    def __init__(self) -> None:
        self._plan = StepPlan(0)

    def plan(self, engine: EngineView) -> StepPlan:
        budget = engine.max_batched_tokens
        if self._plan.token_budget != budget:
            self._plan = StepPlan(budget, reason="the engine's own token budget")
        return self._plan


class Sarathi:
    """Limits every step to ``chunk_tokens``: one token per decode first, prefill chunks with what is left, so decodes never stall.

    The same as vLLM's chunked prefill with ``--max-num-batched-tokens`` at the chunk. Decodes are never left out: where more
    requests run than the chunk has tokens, the budget is their number. Never above the engine's ``max_batched_tokens``.

    Args:
        chunk_tokens: tokens per step; small protects TPOT, large speeds up prefill.

    Source: Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", OSDI '24, arXiv 2403.02310,
    Algorithm 3 (token budget 512 under strict, 2048 under relaxed SLOs).
    """

    __slots__ = ("_plan", "chunk_tokens")

    def __init__(self, *, chunk_tokens: int = 512) -> None:
        if chunk_tokens < 1:
            raise ValueError(f"chunk_tokens is {chunk_tokens}; a step needs at least 1 token")
        self.chunk_tokens = chunk_tokens
        self._plan = StepPlan(0)

    def plan(self, engine: EngineView) -> StepPlan:
        budget = min(engine.max_batched_tokens, max(self.chunk_tokens, engine.running_count))
        if self._plan.token_budget != budget:
            self._plan = StepPlan(budget, reason="a fixed token budget")
        return self._plan


class PrefillFirst:
    """Lets decodes sit out while prompts wait that can be admitted: whole prompts first, as in vLLM before its V1 engine.

    Decodes stall for as long as prompts take, and each prompt starts as soon as a step ends. Where no prompt was admitted after
    all, decodes go on.

    Source: vLLM 0.8, V0 engine, ``Scheduler._schedule_default`` (vllm/core/scheduler.py): prefills are scheduled before decodes
    unless chunked prefill is on.
    """

    __slots__ = ("_decodes", "_tried")

    def __init__(self) -> None:
        self._decodes = StepPlan(0)
        self._tried = -1
        """The step that was last planned for prompts alone."""

    def plan(self, engine: EngineView) -> StepPlan:
        budget = engine.max_batched_tokens
        started = [request.id for request in engine.running if request.prefilled_tokens >= request.prompt_tokens]
        prefilling = len(started) < engine.running_count
        if self._tried == engine.step or not (prefilling or (engine.waiting_count and _fits(engine))):
            steps = 1 if engine.waiting_count else math.inf
            if (self._decodes.token_budget, self._decodes.valid_steps) != (budget, steps):
                self._decodes = StepPlan(budget, valid_steps=steps, reason="no prompt can start")
            return self._decodes
        self._tried = engine.step
        return StepPlan(budget, caps=dict.fromkeys(started, 0), valid_steps=1, reason="prompts first")


def _fits(engine: EngineView) -> bool:
    """Whether the first waiting request finds a seat and KV memory."""
    free = engine.kv_tokens_capacity - engine.kv_tokens_used
    return engine.running_count < engine.max_seqs and engine.waiting[0].prompt_tokens + engine.block_tokens <= free
