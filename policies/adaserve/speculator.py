"""AdaServe behind the ``Speculator`` protocol: on trees where the engine verifies them, and on chains elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np

from policies.adaserve.acceptance import ObservedAcceptance, expected_tokens
from policies.adaserve.decoding import StepTime, decoding, progress, prompts_beside
from policies.adaserve.prompts import after_prompts, most_in_time
from policies.adaserve.selection import Rules, Spend, everything, needed_tokens, select
from policies.adaserve.shape import Limits, knee
from policies.adaserve.tree import Floats, Forest
from policies.decisions import Drafts, DraftShape, Selection, Tree
from policies.types import DraftView, RequestView


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
        assurance: probability with which the tokens that a step brings a request are enough for its objective: as many more are
            needed as the accepted drafts may fall short of their expectation, by a normal approximation. 0.5 = in expectation,
            as in the paper.
        formula: of the draft length: paper or code.
        depth_min: draft tokens at least, in the paper's formula.
        depth_max: draft tokens at most.
        c1: the paper's unpublished constant in the draft length.
        width_max: draft tokens in each layer of a tree at most; 1 = chains, on any engine.
        draft_budget: tokens that a pass of the draft model takes; shared by the requests, it sets the trees' width.
        count_prompts: the step time in the needed tokens includes the prompt tokens that share the step; the paper leaves them out
            and names them as the main reason for what it violates.
        prompts: when prompts have their turn for a step's tokens. last = they get what drafts leave, as in the paper; in-time =
            before the throughput phase, as far as it takes for every first token to be within its TTFT objective that can be;
            first = before the throughput phase, all that pend, offline work's too. Not in the paper.
        spend: all = the budget is filled, as in the paper; paying = the throughput phase verifies as many tokens as bring the most
            expected tokens per second, and drafts are as deep as lately did so; not in the paper.
        unconstrained: tiers whose requests get throughput tokens only, separated by commas; the released code treats objectives
            given in milliseconds so.

    Source: AdaServe, EuroSys '26, arXiv 2501.12162, Algorithm 2.
    """

    __slots__ = (
        "_knees",
        "acceptance",
        "budget",
        "count_prompts",
        "deviations",
        "limits",
        "margin",
        "prompts",
        "rules",
        "unconstrained",
    )

    def __init__(
        self,
        *,
        budget: int = 0,
        phases: Literal["slo", "greedy", "equal"] = "slo",
        order: Literal["descending", "ascending"] = "descending",
        share: float = 1.2,
        margin: float = 1.0,
        assurance: float = 0.5,
        formula: Literal["paper", "code"] = "paper",
        depth_min: int = 4,
        depth_max: int = 8,
        c1: float = 0.0,
        width_max: int = 3,
        draft_budget: int = 96,
        count_prompts: bool = False,
        prompts: Literal["last", "in-time", "first"] = "last",
        spend: Literal["all", "paying"] = "all",
        unconstrained: str = "",
    ) -> None:
        if budget < 0:
            raise ValueError(f"budget is {budget}; give tokens per step, or 0 for the knee of the engine's latency model")
        for name, value, valid in (
            ("phases", phases, ("slo", "greedy", "equal")),
            ("order", order, ("descending", "ascending")),
            ("formula", formula, ("paper", "code")),
            ("spend", spend, ("all", "paying")),
            ("prompts", prompts, ("last", "in-time", "first")),
        ):
            if value not in valid:
                raise ValueError(f"{name} is {value!r}; it is one of {', '.join(valid)}")
        if not margin > 0:
            raise ValueError(f"margin is {margin}; give a positive factor")
        if not 0.5 <= assurance < 1:
            raise ValueError(f"assurance is {assurance}; give a probability from 0.5, which is in expectation, to below 1")
        self.budget = budget
        self.rules = Rules(phases, order, share)
        self.margin = margin
        self.deviations = NormalDist().inv_cdf(assurance)
        self.limits = Limits(depth_min, depth_max, width_max, draft_budget, c1, formula=formula)
        self.count_prompts = count_prompts
        self.prompts = prompts
        self.acceptance = None if spend == "all" else ObservedAcceptance()
        self._knees: dict[tuple[str, int], int] = {}
        self.unconstrained = frozenset(name.strip() for name in unconstrained.split(",") if name.strip())

    def shape(self, engine: DraftView) -> DraftShape:
        requests, budget = decoding(engine), self._budget(engine)
        depth, width = self.limits.beam(len(requests), budget)
        if self.acceptance is not None:
            depth = min(depth, self._paying_depth(self.acceptance, engine, requests))
        fill = max(0, budget - len(requests))
        if self._beside_prompts(engine, StepTime.of(engine, requests), depth, 0, fill) < fill:
            depth = min(depth, self.limits.depth_min)
        return DraftShape(depth, reason=f"{depth} × {width} tokens for {len(requests)} requests on {budget}", width=width)

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        requests = decoding(engine)
        forest = _forest(requests, drafts)
        budget = min(self._budget(engine), engine.token_budget)
        drafted = int((forest.path >= 0).sum())
        fill = min(drafted, max(0, budget - len(requests)))
        depth = int(forest.depth.max(initial=0))
        tokens_in_step = len(requests) + fill
        time = StepTime.of(engine, requests)
        prompts = prompts_beside(engine, tokens_in_step)
        step_s = time.seconds(depth, fill, prompts if self.count_prompts else 0)
        elapsed_s, tokens, tpot_s = progress(requests, engine.now_s)
        if self.unconstrained:
            tpot_s[[request.tier in self.unconstrained for request in requests]] = np.inf
        needed = needed_tokens(elapsed_s, self.margin * step_s, tpot_s, tokens)
        if self.deviations:
            needed = needed + self.deviations * forest.deviation()
        selected = select(forest, needed, budget, self.rules, spend=self._spend(engine, time, depth, prompts))
        reason = f"{selected.nodes.sum()} of {drafted} draft tokens, {selected.for_slo.sum()} of them for objectives"
        if drafts.trees is None:
            return Selection({r.id: count for r, count in zip(requests, selected.nodes.tolist(), strict=True)}, reason)
        return Selection(reason=reason, nodes={r.id: selected.of(row).tolist() for row, r in enumerate(requests)})

    def _spend(self, engine: DraftView, time: StepTime, depth: int, prompts: int) -> Spend:
        """How much the throughput phase verifies."""
        within = everything if self.acceptance is None else time.while_it_pays(depth, prompts)
        if self.prompts == "last":
            return within

        def spend(likeliest: Floats, expected: float, chosen: int) -> int:
            wanted = within(likeliest, expected, chosen)
            return self._beside_prompts(engine, time, depth, chosen, chosen + wanted) - chosen

        return spend

    def _beside_prompts(self, engine: DraftView, time: StepTime, depth: int, least: int, most: int) -> int:
        """What prompts leave of ``most`` draft tokens, ``least`` at least."""
        if self.prompts == "in-time":
            return most_in_time(engine, time, depth, least, most)
        return most if self.prompts == "last" else after_prompts(engine, time, least, most)

    @staticmethod
    def _paying_depth(acceptance: ObservedAcceptance, engine: DraftView, requests: Sequence[RequestView]) -> int:
        """The length of chains with the most expected tokens per second, 1 at least, so that acceptance is seen."""
        acceptance.look(requests)
        seconds = StepTime.of(engine, requests).by_length(_DEEPEST)
        return max(1, int(np.argmax(expected_tokens(acceptance.rate, _DEEPEST) / seconds)) if requests else 1)

    def _budget(self, engine: DraftView) -> int:
        if self.budget:
            return self.budget
        place = engine.id, engine.max_batched_tokens
        if place not in self._knees:
            self._knees[place] = knee(engine.latency, engine.max_batched_tokens)
        return self._knees[place]


_NO_TREE = Tree((), ())
_DEEPEST = 16


def _forest(requests: Sequence[RequestView], drafts: Drafts) -> Forest:
    if drafts.trees is None:
        return Forest.of_chains([drafts.chains.get(request.id, ()) for request in requests])
    trees = (drafts.trees.get(request.id, _NO_TREE) for request in requests)
    return Forest.of_trees([(tree.parents, tree.given) for tree in trees])
