"""What the speculators of this package read from an engine's view: who decodes, and what a step of it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from policies.adaserve.selection import Spend
from policies.adaserve.tree import Floats
from policies.latency import LatencyModel, StepShape
from policies.types import DraftView, EngineView, RequestView


def decoding(engine: EngineView) -> list[RequestView]:
    """The running requests of which all but the last token is computed."""
    return [request for request in engine.running if tokens_left(request) <= 0]


def prompts_beside(engine: DraftView, tokens: int) -> int:
    """Prompt tokens that a step computes beside ``tokens`` of decodes and drafts: of running requests, and of waiting ones while
    there are seats.
    """
    running = sum(max(tokens_left(request), 0) for request in engine.running)
    pending = engine.pending_prefill_tokens if engine.running_count < engine.max_seqs else running
    return max(0, min(engine.token_budget - tokens, pending))


def tokens_left(request: RequestView) -> int:
    """Tokens to compute before the next one; generated tokens too, after a preemption."""
    return request.prompt_tokens + max(request.generated_tokens - 1, 0) - request.prefilled_tokens


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step that drafts and verifies for given requests. ``draft_s``: of one pass of the drafter."""

    latency: LatencyModel
    requests: int
    context: int
    draft_s: float

    @classmethod
    def of(cls, engine: DraftView, requests: Sequence[RequestView]) -> StepTime:
        return cls(engine.latency, len(requests), sum(r.prompt_tokens + r.generated_tokens for r in requests), engine.draft_s)

    def seconds(self, depth: int, drafts: int, prompts: int = 0) -> float:
        """With ``depth`` passes of the drafter, ``drafts`` draft tokens verified in all, and ``prompts`` tokens of prompts."""
        step = StepShape(prompts, prompts**2 / 2, int(prompts > 0), self.requests, self.context, drafts)
        return depth * self.draft_s + self.latency.seconds(step)

    def while_it_pays(self, depth: int, prompts: int) -> Spend:
        """Verifies as many of the candidates as bring the most expected tokens per second."""

        def spend(likeliest: Floats, expected: float, chosen: int) -> int:
            drafts = chosen + np.arange(len(likeliest) + 1.0)
            same = np.ones_like(drafts)
            verifying_s = self.latency.seconds_many(
                prompts * same, prompts**2 / 2 * same, (prompts > 0) * same, self.requests * same, self.context * same, drafts
            )
            tokens = expected + np.cumsum(np.r_[0.0, likeliest])
            return int(np.argmax(tokens / (depth * self.draft_s + verifying_s)))

        return spend

    def by_length(self, longest: int) -> Floats:
        """With 0, 1, … ``longest`` drafted and verified for every request, (longest + 1,)."""
        return np.array([self.seconds(k, k * self.requests) for k in range(longest + 1)])


def progress(requests: Iterable[RequestView], now_s: float) -> tuple[Floats, Floats, Floats]:
    """Per request seconds since its first token, tokens since then, and its TPOT objective (infinite: none).

    The first token is the prefill's; TPOT is measured from it on.
    """
    table = [
        (
            now_s - (now_s if request.first_token_s is None else request.first_token_s),
            max(request.generated_tokens - 1, 0),
            math.inf if request.slo.tpot_s is None else request.slo.tpot_s,
        )
        for request in requests
    ]
    elapsed, tokens, tpot = np.array(table, np.float64).reshape(-1, 3).T
    return elapsed, tokens, tpot
