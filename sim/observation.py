"""What a router sees between refreshes: engines as they were at the last tick, plus what it has itself sent since."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.latency import LatencyModel
from policies.types import EngineState, RequestView, Role
from policies.views import FrozenRequest
from sim.engine import Engine
from sim.kernel import OBSERVE, Bell, Kernel
from sim.request import Request


class ObservedEngine:
    """An ``EngineView`` as of the last tick. ``sent`` adds a request that the router assigned since."""

    __slots__ = (
        "_engine",
        "as_of_s",
        "kv_tokens_used",
        "pending_prefill_tokens",
        "running",
        "running_count",
        "step",
        "step_ends_s",
        "waiting",
        "waiting_count",
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.as_of_s = engine.now_s
        self.step = engine.step
        self.step_ends_s = engine.step_ends_s
        self.running: Sequence[RequestView] = [FrozenRequest(r) for r in engine.scheduler.running]  # type: ignore[misc]
        self.waiting: list[RequestView] = [FrozenRequest(r) for r in engine.waiting]  # type: ignore[misc]
        self.running_count = len(self.running)
        self.waiting_count = len(self.waiting)
        self.pending_prefill_tokens = engine.pending_prefill_tokens
        self.kv_tokens_used = engine.kv_tokens_used

    def sent(self, request: Request) -> None:
        self.waiting.append(FrozenRequest(request))  # type: ignore[arg-type]
        self.waiting_count += 1
        if request.source is None:
            self.pending_prefill_tokens += request.prompt_tokens + request.generated_tokens

    @property
    def id(self) -> str:
        return self._engine.id

    @property
    def model(self) -> str:
        return self._engine.model

    @property
    def role(self) -> Role:
        return self._engine.role

    @property
    def tier(self) -> str | None:
        return self._engine.tier

    @property
    def state(self) -> EngineState:
        return self._engine.state

    @property
    def now_s(self) -> float:
        return self._engine.now_s

    @property
    def kv_tokens_capacity(self) -> int:
        return self._engine.kv_tokens_capacity

    @property
    def block_tokens(self) -> int:
        return self._engine.block_tokens

    @property
    def max_seqs(self) -> int:
        return self._engine.max_seqs

    @property
    def max_batched_tokens(self) -> int:
        return self._engine.max_batched_tokens

    @property
    def latency(self) -> LatencyModel:
        return self._engine.latency


class Observer:
    """Observes the active engines at time 0 and then every ``interval_s``, before anything is routed at that instant.

    Which engines are up is no matter of observation: the router knows it. One that comes up is observed as it does.
    ``on_refresh`` is called after each observation but the first.
    """

    def __init__(self, kernel: Kernel, engines: Sequence[Engine], interval_s: float, on_refresh: Callable[[], None]) -> None:
        self._kernel = kernel
        self._on_refresh = on_refresh
        self._live = engines
        self._interval_s = interval_s
        self._ticks = 0
        self._views: dict[str, ObservedEngine] = {}
        self._observe(None)

    def view(self, engine: Engine) -> ObservedEngine:
        """An active engine as of the last tick."""
        if engine.id not in self._views:
            self._views[engine.id] = ObservedEngine(engine)
        return self._views[engine.id]

    def gone(self, engine: Engine) -> None:
        """An engine is not active any more."""
        self._views.pop(engine.id, None)

    def sent(self, request: Request, engine: str) -> None:
        """The router has sent ``request`` to ``engine``, and knows it."""
        self._views[engine].sent(request)

    def _observe(self, _: Bell | None) -> None:
        self._views = {engine.id: ObservedEngine(engine) for engine in self._live if engine.state is EngineState.ACTIVE}
        self._ticks += 1
        if self._ticks > 1:
            self._on_refresh()
        if self._ticks == 1 or not self._kernel.idle:
            self._kernel.call_at(self._ticks * self._interval_s, OBSERVE, self._observe)
