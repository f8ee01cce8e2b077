"""What HyGen is compared with: the same two phases without a latency budget, with a constant rate of offline work, or with the
objective itself as the budget."""

from __future__ import annotations

from math import inf

from policies.decisions import StepPlan
from policies.hygen.batcher import HyGen
from policies.hygen.predictor import FEATURES
from policies.hygen.step import Step
from policies.types import StepView

_NOTHING = (0.0,) * len(FEATURES)


class SarathiPlus(HyGen):
    """Sarathi with offline work: online requests first, offline ones in whatever tokens and memory are left, whatever the latency.

    The paper's Sarathi++. Offline requests are taken in the order in which they came.

    Args:
        chunk_tokens: tokens per step at most; more only where more requests decode.
        headroom: share of KV memory and seats that offline requests are not admitted to.

    Source: HyGen, arXiv 2501.14808, §5.1.
    """

    __slots__ = ()

    def __init__(self, *, chunk_tokens: int = 512, headroom: float = 0.05) -> None:
        super().__init__(budget_s=inf, chunk_tokens=chunk_tokens, sharing=0.0, headroom=headroom, spread=0.0, weights=_NOTHING)


class HyGenStar(HyGen):
    """Sarathi++ with a constant rate at which offline requests are admitted, found by profiling: the paper's HyGen*.

    Args:
        rate: offline requests per second.
        chunk_tokens: tokens per step at most; more only where more requests decode.
        headroom: share of KV memory and seats that offline requests are not admitted to.

    Source: HyGen, arXiv 2501.14808, §5.1.
    """

    __slots__ = ("_began_s", "rate")

    def __init__(self, *, rate: float = 1.0, chunk_tokens: int = 512, headroom: float = 0.05) -> None:
        if not rate > 0:
            raise ValueError(f"rate is {rate}; it must be above 0 requests per second")
        super().__init__(budget_s=inf, chunk_tokens=chunk_tokens, sharing=0.0, headroom=headroom, spread=0.0, weights=_NOTHING)
        self.rate = rate
        self._began_s: float | None = None

    def plan(self, engine: StepView) -> StepPlan:
        if self._began_s is None:
            self._began_s = engine.now_s
        return super().plan(engine)

    def quota(self, now_s: float) -> int:
        due = 1 + int(self.rate * (now_s - (self._began_s or 0.0)))
        return max(0, due - self._lines.offline.picked)


class ConServeLike(HyGen):
    """Offline work in what an absolute objective leaves of each step, without a profile, and without limit while no one is online.

    ConServe's choice of tokens. Two things of it are left out: here a running step cannot be broken off between layers when an
    online request comes, and offline KV is preempted without a checkpoint in host memory.

    Args:
        objective_s: TPOT objective of online requests, in seconds.
        chunk_tokens: tokens per step at most; more only where more requests decode.

    Source: Qiao et al., ConServe, arXiv 2410.01228.
    """

    __slots__ = ()

    def __init__(self, *, objective_s: float = 0.1, chunk_tokens: int = 512) -> None:
        super().__init__(budget_s=objective_s, chunk_tokens=chunk_tokens, sharing=0.0, headroom=0.0, spread=0.0)

    def room_s(self, step: Step) -> float:
        return self.budget_s if step.has_online else inf
