"""The fleet: engines, the router in front of them, and the one interpreter of routing decisions in the real world.

It knows nothing of vLLM, and not whether time is the wall's or made up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.protocols import Router
from policies.types import Assign, EngineState, EngineView, Hold, Inventory, RequestView, Shed
from replay.clock import Clock, Turn
from replay.engine import Engine
from replay.journal import Journal
from replay.observation import Observer
from replay.request import Request
from traces.errors import InputError

COMPLETED, SHED, UNFINISHED, FAILED = "completed", "shed", "unfinished", "failed"


class Fleet:
    """Routes requests and listens to engines. It is the ``FleetView`` that its router is shown, and the engines' ``Listener``.

    ``observe_s``: refresh interval of what the router sees of engines that run in this process; 0 = always the present state.
    Engines elsewhere are seen as they last told, so leave it at 0 for them. ``gpus``: per engine, the type and the number of GPUs
    that it occupies.
    """

    def __init__(
        self, clock: Clock, router: Router, journal: Journal, gpus: Sequence[tuple[str, int]] = (), *, observe_s: float = 0.0
    ) -> None:
        self._clock = clock
        self._router = router
        self._journal = journal
        self._observe_s = observe_s
        self._gpus = gpus
        self._observer: Observer | None = None
        self._engines: dict[str, Engine] = {}
        self._states: dict[str, EngineState] = {}
        self._held: list[tuple[Request, str]] = []
        self._offering = False
        self.offered = 0
        """Requests dispatched."""
        self.done = 0
        """Requests that have an outcome."""
        self.on_done: Callable[[Request], None] | None = None
        """Called for each of them."""

    def set_engines(self, engines: Sequence[Engine]) -> None:
        """The engines of the fleet, in the order in which routers see them."""
        self._engines = {engine.id: engine for engine in engines}
        for engine in engines:
            self._note_state(engine)
        if self._observe_s:
            self._observer = Observer(self._clock, engines, self._observe_s, self._offer_held, lambda: self.done < self.offered)

    # --- FleetView ----------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self._clock.now()

    @property
    def engines(self) -> Sequence[EngineView]:
        return [self._seen(engine) for engine in self._engines.values() if engine.state is EngineState.ACTIVE]

    @property
    def members(self) -> Sequence[EngineView]:
        return [self._seen(engine) for engine in self._engines.values()]

    @property
    def idle(self) -> Sequence[EngineView]:
        return [self._seen(engine) for engine in self._engines.values() if engine.state is EngineState.PARKED]

    @property
    def held(self) -> Sequence[RequestView]:
        return [request for request, _ in self._held]

    @property
    def inventory(self) -> Inventory:
        total: dict[str, int] = {}
        free: dict[str, int] = {}
        for engine, (gpu, count) in zip(self._engines.values(), self._gpus, strict=True):
            total[gpu] = total.get(gpu, 0) + count
            free[gpu] = free.get(gpu, 0) + (count if engine.state is EngineState.PARKED else 0)
        return Inventory(total, free)

    def _seen(self, engine: Engine) -> EngineView:
        return engine.view if self._observer is None else self._observer.view(engine.id)

    # --- carrying out decisions ---------------------------------------------------------------------------------------

    def dispatch(self, request: Request) -> None:
        """Route a request that has just arrived."""
        self.offered += 1
        self._journal.offered(request)
        if (queue := self._carry_out(request)) is not None:
            self._held.append((request, queue))

    def _carry_out(self, request: Request) -> str | None:
        """Ask the router and do as it says; ``None``, or the queue in which the request is to be held."""
        decision = self._router.route(request, self)
        if isinstance(decision, Hold):
            return decision.queue
        if isinstance(decision, Assign):
            engine = self._engines.get(decision.engine)
            if engine is None or engine.state is not EngineState.ACTIVE or engine.model != request.model:
                raise InputError(
                    f"policy.router: assigned request {request.id} to {decision.engine!r}, which is not an active engine that "
                    f"serves {request.model}; a router may only name engines of its view that serve the request's model"
                )
            request.engine = engine.id
            engine.submit(request)
            if self._observer is not None:
                self._observer.sent(request, engine.id)
        elif isinstance(decision, Shed):
            self._end(request, SHED, decision.reason)
        else:
            raise InputError(
                f"policy.router: answered {decision!r} for request {request.id}; a router answers with Assign, Hold or Shed"
            )
        return None

    def _offer_held(self) -> None:
        if self._held and not self._offering:
            self._offering = True
            self._clock.call_at(self._clock.now(), Turn.ROUTE, self._offer)

    def _offer(self) -> None:
        """Offer the held requests again, of each named queue only the first that stays."""
        self._offering = False
        held, blocked = [], set()
        for request, queue in self._held:
            if not queue or queue not in blocked:
                again = self._carry_out(request)
                if again is None:
                    continue
                queue = again
                blocked.add(queue)
            held.append((request, queue))
        self._held = held

    # --- Listener -----------------------------------------------------------------------------------------------------

    def on_token(self, request: Request, tokens: int, at_s: float) -> None:
        request.emitted(tokens, at_s)

    def on_finished(self, request: Request, at_s: float) -> None:
        self._end(request, COMPLETED)
        self._offer_held()

    def on_failed(self, request: Request, at_s: float, why: str) -> None:
        self._end(request, FAILED, why)
        self._offer_held()

    def on_state(self, engine: Engine) -> None:
        self._note_state(engine)
        self._offer_held()

    def _note_state(self, engine: Engine) -> None:
        if self._states.get(engine.id) is not engine.state:
            self._states[engine.id] = engine.state
            self._journal.stage(self._clock.now(), engine.index, engine.state)

    def _end(self, request: Request, outcome: str, reason: str = "") -> None:
        if request.outcome is not None:
            return
        request.outcome, request.reason = outcome, reason
        self.done += 1
        if self.on_done is not None:
            self.on_done(request)

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The run is over: whoever has no outcome yet is unfinished, and the engines are closed."""
        self.on_done = None
        for request in self._journal.requests:
            self._end(request, UNFINISHED, "the run ended")
        for engine in self._engines.values():
            engine.close()
