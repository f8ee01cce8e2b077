"""AdaServe on an engine that drafts and verifies chains: the four steps behind the ``Speculator`` protocol."""

from __future__ import annotations

from typing import Literal

import numpy as np

from policies.adaserve.decoding import StepTime, decoding, progress
from policies.adaserve.selection import Rules, needed_tokens, select
from policies.adaserve.shape import Limits, knee
from policies.adaserve.tree import Forest
from policies.types import Drafts, DraftShape, EngineView, Selection


class AdaServe:
    """Verifies as many draft tokens of each request as its TPOT objective needs, then those most likely to be accepted.

    Drafts are as long as the load allows. Objectives are kept in expectation, by the drafter's own probabilities. Requests without
    a TPOT objective get throughput tokens only.

    Args:
        budget: tokens verified per step at most, one per request included; 0 = where verifying turns compute-bound, by the
            engine's latency model when it is first seen.
        phases: slo, or an ablation: greedy = throughput alone, equal = the same for every request.
        order: who is served first for its objective: descending (most tokens needed, the paper) or ascending (its released code).
        share: what a request may take for its objective, in equal shares of the budget.
        margin: factor on the step time in the needed tokens: 1 (paper) or 1.05 (code).
        formula: of the draft length: paper or code.
        depth_min: draft tokens at least, in the paper's formula.
        depth_max: draft tokens at most.
        c1: the paper's unpublished constant in the draft length.
        draft_time_s: seconds for the drafter to propose one token for all requests of a step.
        unconstrained: tiers whose requests get throughput tokens only, separated by commas; the released code treats objectives
            given in milliseconds so.

    Source: AdaServe, EuroSys '26, arXiv 2501.12162, Algorithm 2.
    """

    __slots__ = ("_knees", "budget", "draft_time_s", "limits", "margin", "rules", "unconstrained")

    def __init__(
        self,
        *,
        budget: int = 0,
        phases: Literal["slo", "greedy", "equal"] = "slo",
        order: Literal["descending", "ascending"] = "descending",
        share: float = 1.2,
        margin: float = 1.0,
        formula: Literal["paper", "code"] = "paper",
        depth_min: int = 4,
        depth_max: int = 8,
        c1: float = 0.0,
        draft_time_s: float = 0.0,
        unconstrained: str = "",
    ) -> None:
        if budget < 0:
            raise ValueError(f"budget is {budget}; give tokens per step, or 0 for the knee of the engine's latency model")
        for name, value, valid in (
            ("phases", phases, ("slo", "greedy", "equal")),
            ("order", order, ("descending", "ascending")),
            ("formula", formula, ("paper", "code")),
        ):
            if value not in valid:
                raise ValueError(f"{name} is {value!r}; it is one of {', '.join(valid)}")
        if not margin > 0 or draft_time_s < 0:
            raise ValueError(f"margin is {margin} and draft_time_s {draft_time_s}; give a positive factor and seconds from 0")
        self.budget = budget
        self.rules = Rules(phases, order, share)
        self.margin = margin
        self.limits = Limits(depth_min=depth_min, depth_max=depth_max, c1=c1, formula=formula)
        self.draft_time_s = draft_time_s
        self._knees: dict[tuple[str, int], int] = {}
        self.unconstrained = frozenset(name.strip() for name in unconstrained.split(",") if name.strip())

    def shape(self, engine: EngineView) -> DraftShape:
        requests, budget = len(decoding(engine)), self._budget(engine)
        depth = self.limits.beam(requests, budget).depth
        return DraftShape(depth, reason=f"{depth} tokens deep for {requests} requests on {budget} tokens")

    def select(self, engine: EngineView, drafts: Drafts) -> Selection:
        requests = decoding(engine)
        forest = Forest.of_chains([drafts.chains.get(request.id, ()) for request in requests])
        budget = self._budget(engine)
        drafted = int(forest.depth.sum())
        fill = min(drafted, max(0, budget - len(requests)))
        depth = int(forest.depth.max(initial=0))
        step_s = StepTime.of(engine, requests, self.draft_time_s).seconds(depth, fill)
        elapsed_s, tokens, tpot_s = progress(requests, engine.now_s)
        if self.unconstrained:
            tpot_s[[request.tier in self.unconstrained for request in requests]] = np.inf
        needed = needed_tokens(elapsed_s, self.margin * step_s, tpot_s, tokens)
        selected = select(forest, needed, budget, self.rules)
        return Selection(
            {request.id: count for request, count in zip(requests, selected.nodes.tolist(), strict=True)},
            reason=f"{selected.nodes.sum()} of {drafted} draft tokens, {selected.for_slo.sum()} of them for objectives",
        )

    def _budget(self, engine: EngineView) -> int:
        if self.budget:
            return self.budget
        place = engine.id, engine.max_batched_tokens
        if place not in self._knees:
            self._knees[place] = knee(engine.latency, engine.max_batched_tokens)
        return self._knees[place]
