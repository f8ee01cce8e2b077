"""The fleet: engines, the router in front of them, and the one interpreter of routing decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.protocols import Router
from policies.types import Assign, EngineState, EngineView, Hold, RequestView, Shed
from sim.engine import Engine
from sim.journal import Journal
from sim.kernel import ROUTE, Bell, Kernel
from sim.observation import Observer
from sim.request import Request
from traces.errors import InputError


class Fleet:
    """Routes requests and listens to engines. It is itself the ``FleetView`` that its router is shown.

    ``observe_s``: refresh interval of what the router sees of the engines; 0 = always the present state.
    """

    def __init__(self, kernel: Kernel, router: Router, journal: Journal, *, observe_s: float = 0.0) -> None:
        self._kernel = kernel
        self._router = router
        self._journal = journal
        self._observe_s = observe_s
        self._observer: Observer | None = None
        self._by_id: dict[str, Engine] = {}
        self._held: list[Request] = []
        self._offering = False
        self._active: tuple[Engine, ...] = ()
        self.done = 0
        """Requests that have completed or were shed."""
        self.on_done: Callable[[Request], None] | None = None
        """Called for each of them."""

    def set_engines(self, engines: Sequence[Engine]) -> None:
        """The engines of the fleet, in the order in which routers see them."""
        self._by_id = {engine.id: engine for engine in engines}
        self._active = tuple(engine for engine in engines if engine.state is EngineState.ACTIVE)
        if self._observe_s:
            self._observer = Observer(self._kernel, engines, self._observe_s, self._offer_held)

    # --- FleetView ----------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self._kernel._now

    @property
    def engines(self) -> Sequence[EngineView]:
        return self._active if self._observer is None else self._observer.engines

    @property
    def held(self) -> Sequence[RequestView]:
        return self._held

    # --- carrying out decisions ---------------------------------------------------------------------------------------

    def dispatch(self, request: Request) -> None:
        """Route a request that has just arrived."""
        if not self._carry_out(request):
            self._held.append(request)

    def _carry_out(self, request: Request) -> bool:
        """Ask the router and do as it says. False if the request is to be held."""
        decision = self._router.route(request, self)
        if isinstance(decision, Assign):
            engine = self._by_id.get(decision.engine)
            if engine is None or engine.state is not EngineState.ACTIVE or engine.model != request.model:
                raise InputError(
                    f"policy.router: assigned request {request.id} to {decision.engine!r}, which is not an active engine that "
                    f"serves {request.model}; a router may only name engines of its view that serve the request's model"
                )
            engine.enqueue(request)
            if self._observer is not None:
                self._observer.sent(request, decision.engine)
            return True
        if isinstance(decision, Hold):
            return False
        if not isinstance(decision, Shed):
            raise InputError(
                f"policy.router: answered {decision!r} for request {request.id}; a router answers with Assign, Hold or Shed"
            )
        self._journal.shed(request)
        self._finish(request)
        return True

    def on_finished(self, engine: Engine, requests: Sequence[Request]) -> None:
        """An engine completed requests: who is held gets another offer."""
        for request in requests:
            self._finish(request)
        self._offer_held()

    def _offer_held(self) -> None:
        if self._held and not self._offering:
            self._offering = True
            self._kernel.call_at(self._kernel._now, ROUTE, self._offer)

    def _offer(self, _: Bell) -> None:
        self._offering = False
        self._held = [request for request in self._held if not self._carry_out(request)]

    def _finish(self, request: Request) -> None:
        self.done += 1
        if self.on_done is not None:
            self.on_done(request)

    def close(self) -> None:
        """The run is over: enter in the journal what is still held, queued or running."""
        for request in self._held:
            self._journal.unfinished(request, -1, -1)
        for engine in self._by_id.values():
            engine.close()
