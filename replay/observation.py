"""What a router sees between refreshes: engines as they were when last observed, plus what it has itself sent since."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.latency import LatencyModel
from policies.types import EngineState, EngineView, RequestView, Role
from policies.views import FrozenRequest
from replay.clock import Clock, Turn
from replay.engine import Engine
from replay.request import Request


class ObservedEngine:
    """An ``EngineView`` as of one moment. ``sent`` adds a request that the router assigned since."""

    __slots__ = (
        "_now",
        "as_of_s",
        "block_tokens",
        "id",
        "kv_tokens_capacity",
        "kv_tokens_used",
        "latency",
        "max_batched_tokens",
        "max_seqs",
        "model",
        "pending_prefill_tokens",
        "role",
        "running",
        "running_count",
        "state",
        "step",
        "step_ends_s",
        "tier",
        "waiting",
        "waiting_count",
    )

    def __init__(self, view: EngineView, now: Callable[[], float]) -> None:
        self._now = now
        self.id = view.id
        self.model = view.model
        self.role: Role = view.role
        self.tier = view.tier
        self.state: EngineState = view.state
        self.as_of_s = view.as_of_s
        self.step = view.step
        self.step_ends_s = view.step_ends_s
        self.running: Sequence[RequestView] = [FrozenRequest(request) for request in view.running]  # type: ignore[misc]
        self.waiting: list[RequestView] = [FrozenRequest(request) for request in view.waiting]  # type: ignore[misc]
        self.running_count = len(self.running)
        self.waiting_count = len(self.waiting)
        self.pending_prefill_tokens = view.pending_prefill_tokens
        self.kv_tokens_used = view.kv_tokens_used
        self.kv_tokens_capacity = view.kv_tokens_capacity
        self.block_tokens = view.block_tokens
        self.max_seqs = view.max_seqs
        self.max_batched_tokens = view.max_batched_tokens
        self.latency: LatencyModel = view.latency

    @property
    def now_s(self) -> float:
        return self._now()

    def sent(self, request: Request) -> None:
        self.waiting.append(FrozenRequest(request))  # type: ignore[arg-type]
        self.waiting_count += 1
        if request.kv_engine is None:
            self.pending_prefill_tokens += request.prompt_tokens + request.generated_tokens


class Observer:
    """Observes active engines of this process at time 0 and then every ``interval_s``, before anything is routed at that instant.

    Which engines are up is no matter of observation: the router knows it. One that comes up is observed as it does.
    ``on_refresh`` is called after each observation but the first. ``busy``: whether there is any reason to look again.
    """

    def __init__(
        self, clock: Clock, engines: Sequence[Engine], interval_s: float, on_refresh: Callable[[], None], busy: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._live = engines
        self._interval_s = interval_s
        self._on_refresh = on_refresh
        self._busy = busy
        self._ticks = 0
        self._views: dict[str, ObservedEngine] = {}
        self._observe()

    def view(self, engine: Engine) -> ObservedEngine:
        """An active engine as of the last tick."""
        if engine.id not in self._views:
            self._views[engine.id] = ObservedEngine(engine.view, self._clock.now)
        view = self._views[engine.id]
        view.tier = engine.tier
        return view

    def changed(self, engine: Engine) -> None:
        """An engine has come up, or is not active any more."""
        if engine.state is EngineState.ACTIVE:
            self.view(engine)
        else:
            self._views.pop(engine.id, None)

    def sent(self, request: Request, engine: Engine) -> None:
        """The router has sent ``request`` to ``engine``, and knows it."""
        self.view(engine).sent(request)

    def _observe(self) -> None:
        active = [engine for engine in self._live if engine.state is EngineState.ACTIVE]
        self._views = {engine.id: ObservedEngine(engine.view, self._clock.now) for engine in active}
        self._ticks += 1
        if self._ticks > 1:
            self._on_refresh()
        if self._ticks == 1 or self._busy():
            self._clock.call_at(self._ticks * self._interval_s, Turn.OBSERVE, self._observe)
