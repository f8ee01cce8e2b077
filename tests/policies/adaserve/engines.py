"""Engine views for the tests of speculators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policies.adaserve.artifact import TokenLatency
from policies.curve import Curve
from policies.types import SLO
from policies.views import Engine, Request

FLAT = TokenLatency(Curve((1000.0, 2000.0), (0.020, 0.040)))
"""20 ms up to 1,000 tokens."""
STEEP = TokenLatency(Curve((1.0, 101.0), (0.011, 0.111)))
"""10 ms, and 1 ms more with every token."""


def decoding_request(
    number: int, tpot_s: float | None = None, generated: int = 1, tier: str = "default", drafted: int = 0, accepted: int = 0
) -> Request:
    """Its first token came at time 0."""
    return Request(
        id=number,
        tier=tier,
        slo=SLO(tpot_s=tpot_s),
        prompt_tokens=10,
        prefilled_tokens=10 + generated - 1,
        generated_tokens=generated,
        first_token_s=0.0,
        drafted_tokens=drafted,
        accepted_tokens=accepted,
    )


def engine(requests: Sequence[Request], now_s: float = 0.0, latency: TokenLatency = FLAT, **rest: Any) -> Engine:
    told: dict[str, Any] = {"waiting": (), "max_batched_tokens": 4096, "token_budget": 4096, **rest}
    return Engine(running=requests, running_count=len(requests), now_s=now_s, latency=latency, **told)
