"""QoServe's scheduler: prompts in the order of their deadlines, and chunks as large as the decodes' slack allows."""

from __future__ import annotations

from math import inf

from policies.decisions import StepPlan
from policies.latency import StepShape
from policies.types import RequestView, StepView

GRID = (128, *range(256, 2049, 256), 2552)
"""Tokens of a step that are tried (the released code's; its maximum follows from its model's memory)."""


class QoServe:
    """Shares an engine among objectives: decodes first, then prompts by deadline; each step as large as the decodes can wait.

    A prompt's key is arrival + TTFT + ``alpha`` × tokens still to prefill. A step has the most tokens of a grid for which its
    predicted time × ``safety`` is within the least slack of a decode, which is the time until its next token is due (arrival +
    TTFT + i · TPOT). A prompt that cannot be done by its deadline any more, at the pace of the largest step, goes behind all
    others, once and for all (eager relegation).

    Args:
        alpha: seconds that the key of a prompt gains per token still to prefill.
        safety: factor on predicted step times.

    Source: QoServe (Niyama), ASPLOS '26, arXiv 2503.22562; numbers as in the released branch of sarathi-serve.
    """

    __slots__ = ("_relegated", "alpha", "safety")

    def __init__(self, *, alpha: float = 0.008, safety: float = 1.2) -> None:
        if alpha < 0:
            raise ValueError(f"alpha is {alpha:g}; it must be at least 0 seconds per token")
        if safety < 1:
            raise ValueError(f"safety is {safety:g}; it must be at least 1")
        self.alpha = alpha
        self.safety = safety
        self._relegated: set[int] = set()

    def plan(self, engine: StepView) -> StepPlan:
        whole = engine.max_batched_tokens
        if not engine.pending_prefill_tokens:
            return StepPlan(whole, reason="no prompt to weigh")
        now = engine.now_s
        running, waiting = engine.running, engine.waiting
        decoding = [r for r in running if r.prefilled_tokens >= r.prompt_tokens]
        prompts = [r for r in (*running, *waiting) if r.prefilled_tokens < r.prompt_tokens]
        self._relegate(prompts, engine)
        urgent = sorted(prompts, key=lambda r: (r.id in self._relegated, self._key(r), r.id))
        order = [*(r.id for r in decoding), *(r.id for r in urgent)]
        budget = self._budget(engine, decoding, now)
        return StepPlan(budget, order, valid_steps=1, reason=f"{budget} tokens within the decodes' slack")

    def _key(self, request: RequestView) -> float:
        return _deadline(request) + self.alpha * (request.prompt_tokens - request.prefilled_tokens)

    def _relegate(self, prompts: list[RequestView], engine: StepView) -> None:
        top = min(GRID[-1], engine.max_batched_tokens)
        pace = engine.latency.seconds(StepShape(top, top * top / 2, 1)) / top
        self._relegated &= {r.id for r in prompts}
        for r in prompts:
            if engine.now_s + (r.prompt_tokens - r.prefilled_tokens) * pace > _deadline(r):
                self._relegated.add(r.id)

    def _budget(self, engine: StepView, decoding: list[RequestView], now: float) -> int:
        whole = engine.max_batched_tokens
        slack: float = min((_next_due(r) - now for r in decoding), default=inf)
        if slack == inf:
            return whole
        context = sum(r.prompt_tokens + r.generated_tokens for r in decoding)
        seqs = len(decoding)
        best: int = min(whole, max(GRID[0], seqs))
        for tokens in GRID:
            chunk = tokens - seqs
            if chunk <= 0 or tokens > whole:
                continue
            step = engine.latency.seconds(StepShape(chunk, chunk * chunk / 2, 1, seqs, context))
            if step * self.safety > slack:
                break
            best = tokens
        return best


def _deadline(request: RequestView) -> float:
    """When the first token is due; ``inf`` without an objective."""
    return inf if request.slo.ttft_s is None else request.arrival_s + request.slo.ttft_s


def _next_due(request: RequestView) -> float:
    tpot = request.slo.tpot_s
    return inf if tpot is None else _deadline(request) + request.generated_tokens * tpot
