"""What the speculators of this package read from an engine's view: who decodes, and what verifying so many tokens takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from policies.adaserve.tree import Floats
from policies.latency import LatencyModel, StepShape
from policies.types import EngineView, RequestView


def decoding(engine: EngineView) -> list[RequestView]:
    """The running requests whose prompt is computed."""
    return [request for request in engine.running if request.prefilled_tokens >= request.prompt_tokens]


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step that drafts and verifies for given requests, without the prompts that may share it.

    ``draft_s``: for the drafter to propose one token for each of them.
    """

    latency: LatencyModel
    requests: int
    context: int
    draft_s: float

    @classmethod
    def of(cls, engine: EngineView, requests: Sequence[RequestView], draft_s: float) -> StepTime:
        return cls(engine.latency, len(requests), sum(r.prompt_tokens + r.generated_tokens for r in requests), draft_s)

    def seconds(self, depth: int, drafts: int) -> float:
        """With ``depth`` passes of the drafter, and ``drafts`` draft tokens verified in all."""
        step = StepShape(decode_seqs=self.requests, decode_context=self.context, verify_tokens=drafts)
        return depth * self.draft_s + self.latency.seconds(step)

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
