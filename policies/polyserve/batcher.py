"""PolyServe's dynamic chunking: prompts get what decodes leave of the TPOT budget (arXiv 2507.17769, §4.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from math import inf
from operator import attrgetter

from policies.decisions import StepPlan
from policies.polyserve.chunks import PREFILL_TOKENS, Prompt, in_order, largest_chunk, prefilling
from policies.polyserve.tiers import tier_budget_s
from policies.types import RequestView, Role, StepView

_TPOT: Callable[[RequestView], float | None] = attrgetter("slo.tpot_s")


class PolyServe:
    """Gives each step the largest prefill chunk with which it still keeps the tightest TPOT objective on the engine.

    On an engine of a tier that is the tier's budget, unless the engine holds a tighter request. Decodes always run. When nothing
    but prompts is there, or no request has a TPOT objective, a step takes all that the engine allows. A chunk is at least
    ``min_chunk`` tokens, so that prompts get on even where decodes alone use up the budget.

    Args:
        min_chunk: tokens of prefill that a step takes whatever the budget says.
        margin: share of the TPOT budget that is left unused.

    Source: PolyServe, arXiv 2507.17769, §4.7.
    """

    __slots__ = ("_budget", "_mark", "_tier", "_tighter", "margin", "min_chunk")

    def __init__(self, *, min_chunk: int = 64, margin: float = 0.0) -> None:
        if min_chunk < 1:
            raise ValueError(f"min_chunk is {min_chunk}; it must be at least 1")
        if not 0 <= margin < 1:
            raise ValueError(f"margin is {margin}; it is a share of the budget, from 0 to below 1")
        self.min_chunk = min_chunk
        self.margin = margin
        self._tier: str | None = None
        self._budget: float | None = None
        self._tighter: dict[int, float] = {}
        """Requests with a tighter objective than the engine's tier, by id."""
        self._mark: tuple[int, int, int, int] | None = None

    def plan(self, engine: StepView) -> StepPlan:
        whole = engine.max_batched_tokens
        if engine.role is Role.PREFILL:
            return StepPlan(min(whole, PREFILL_TOKENS), reason="prompts alone")
        if not engine.pending_prefill_tokens:
            return StepPlan(whole, reason="nothing to weigh")
        running, waiting = engine.running, engine.waiting
        budget = self._tightest(engine, running, waiting)
        prompts = prefilling(running)
        decoding = len(running) - len(prompts)
        if not decoding or budget == inf:
            return StepPlan(whole, reason="no decode has an objective to keep")
        context = engine.kv_tokens_used - sum(request.prefilled_tokens for request in prompts)
        attended = in_order(_next_prompts(prompts, waiting, whole))
        chunk = largest_chunk(engine.latency, decoding, context, budget * (1 - self.margin), whole - decoding, attended)
        chunk = max(chunk, self.min_chunk)
        return StepPlan(min(whole, decoding + chunk), valid_steps=1, reason=f"chunk of {chunk} within {budget * 1e3:g} ms")

    def _tightest(self, engine: StepView, running: Sequence[RequestView], waiting: Sequence[RequestView]) -> float:
        """The least TPOT objective. Who is new waits first, so that those who run need not be looked through each time."""
        if engine.tier != self._tier:
            self._tier, self._budget, self._mark = engine.tier, tier_budget_s(engine.tier), None
        if self._budget is not None:
            fresh = (*running, *waiting) if self._mark is None else waiting
            self._mark = (0, 0, 0, 0)
            self._tighter |= {r.id: r.slo.tpot_s for r in fresh if r.slo.tpot_s is not None and r.slo.tpot_s < self._budget}
            if self._tighter:
                here = {request.id for request in (*running, *waiting)}
                self._tighter = {id: tpot for id, tpot in self._tighter.items() if id in here}
            return min(self._tighter.values(), default=self._budget)
        mark = (len(running), running[-1].id if running else -1, len(waiting), waiting[-1].id if waiting else -1)
        if mark != self._mark:
            self._mark = mark
            self._tighter = {0: _least((*running, *waiting))}
        return self._tighter[0]


def _least(requests: Iterable[RequestView]) -> float:
    return min((tpot for tpot in set(map(_TPOT, requests)) if tpot is not None), default=inf)


def _next_prompts(running: Sequence[RequestView], waiting: Sequence[RequestView], tokens: int) -> list[Prompt]:
    """Those that the next ``tokens`` of prefill are of: who runs, then who waits."""
    found: list[Prompt] = []
    for request in chain(running, waiting):
        if tokens <= 0:
            break
        found.append(Prompt.of(request))
        tokens -= found[-1].left
    return found
