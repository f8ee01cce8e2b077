"""Made-up engines for HyGen: requests in any phase, and views of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policies.hygen.predictor import Predictor
from policies.types import SLO
from policies.views import Engine, Request

WEIGHTS = (4e-3, 3e-5, 1e-7, 0.0, 0.0, 0.0, 1e-5)
PREDICTOR = Predictor(WEIGHTS)
CHAT = SLO(ttft_s=1.0, tpot_s=0.05)


def waits(id: int, prompt: int = 100, *, offline: bool = False, arrival_s: float | None = None, **more: Any) -> Request:
    slo = {} if offline else {"slo": CHAT}
    return Request(
        id=id, prompt_tokens=prompt, offline=offline, arrival_s=float(id) if arrival_s is None else arrival_s, **slo, **more
    )


def decodes(id: int, context: int = 500, *, offline: bool = False) -> Request:
    return waits(id, context, offline=offline, prefilled_tokens=context + 9, generated_tokens=10, first_token_s=0.5)


def prefills(id: int, prompt: int = 2000, done: int = 500, *, offline: bool = False) -> Request:
    return waits(id, prompt, offline=offline, prefilled_tokens=done)


def engine(running: Sequence[Request] = (), arrived: Sequence[Request] = (), departed: Sequence[int] = (), **more: Any) -> Engine:
    """``waiting`` may not be read: HyGen goes by what has changed."""
    used = sum(-(-request.prefilled_tokens // 16) * 16 for request in running)
    given = {"kv_tokens_used": used, "running_count": len(running), **more}
    return Engine(running=tuple(running), arrived=tuple(arrived), departed=tuple(departed), **given)
