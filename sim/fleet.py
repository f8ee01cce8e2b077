"""The fleet: engines, the router in front of them, and the one interpreter of routing decisions.

A request's way: the router names an engine, or holds the request. Where prefill and decode are apart, that is a prefill engine;
when it is done, the router is asked again, now with the decode engines in its view, and the KV follows when the decode engine has
room (``sim.handover``, ``sim.links``). A request that loses its engine to a failure starts over: the tokens that it was given
count, and are computed again along with the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from policies.decisions import Assign, Hold, Shed
from policies.held import Held
from policies.memory import FleetMemory
from policies.protocols import Router, Scaler
from policies.seating import Inventory
from policies.types import EngineState, EngineView, RequestView, Role
from sim.engine import Engine
from sim.handover import DecodeScheduler
from sim.journal import Journal
from sim.kernel import ARRIVAL, ROUTE, Bell, Kernel
from sim.lifecycle import Lifecycle
from sim.links import Links
from sim.observation import Observer
from sim.request import Request
from sim.roles import DecodeEngine, PrefillEngine
from sim.scaling import Scaling
from traces.errors import InputError

_ACTIVE = EngineState.ACTIVE


class Fleet(FleetMemory):
    """Routes requests and listens to engines. It is itself the ``FleetView`` that its router and its scaler are shown.

    ``observe_s``: refresh interval of what the router sees of the engines; 0 = always the present state. ``retries``: how often a
    request may lose its engine and start over. ``link_latency_s``: of a KV transfer.
    """

    def __init__(
        self,
        kernel: Kernel,
        router: Router,
        journal: Journal,
        *,
        observe_s: float = 0.0,
        retries: int = 3,
        link_latency_s: float = 0.0,
    ) -> None:
        super().__init__()
        self._kernel = kernel
        self._router = router
        self._journal = journal
        self._observe_s = observe_s
        self._retries = retries
        self._observer: Observer | None = None
        self._by_id: dict[str, Engine] = {}
        self._all: tuple[Engine, ...] = ()
        self._held: Held[Request] = Held()
        self._offering = False
        self._disaggregated = False
        self._active: Sequence[EngineView] = ()
        self._for_prefill: Sequence[EngineView] = ()
        self._for_decode: Sequence[EngineView] = ()
        self.lifecycle: Lifecycle
        self.links = Links(kernel, link_latency_s)
        self.engines: Sequence[EngineView] = ()
        """The active engines; while the router is asked, those that can serve the request's next phase."""
        self.done = 0
        """Requests that have completed, were shed, or were given up."""
        self.on_done: Callable[[Request], None] | None = None
        """Called for each of them."""

    def set_engines(self, engines: Sequence[Engine], gpus: Mapping[str, int] | None = None) -> None:
        """The engines of the fleet, in the order in which policies see them. ``gpus``: as ``Lifecycle`` takes them."""
        self._all = tuple(engines)
        self._by_id = {engine.id: engine for engine in engines}
        self._disaggregated = any(engine.role is not Role.BOTH for engine in engines)
        for engine in engines:
            if isinstance(engine.scheduler, DecodeScheduler):
                engine.scheduler.pull = self._pull
        self.lifecycle = Lifecycle(self._kernel, self._all, self._changed, gpus)
        if self._observe_s:
            self._observer = Observer(self._kernel, self._all, self._observe_s, self._refreshed)
        self._look()

    def set_scaler(self, scaler: Scaler) -> None:
        """Ask a scaler, at once and then as it wishes."""
        self._scaling = Scaling(self._kernel, scaler, self, self.lifecycle, self._by_id)

    # --- FleetView ----------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self._kernel._now

    @property
    def held(self) -> Sequence[RequestView]:
        return self._held.requests

    @property
    def members(self) -> Sequence[EngineView]:
        return tuple(map(self._view, self._all))

    @property
    def idle(self) -> Sequence[EngineView]:
        return tuple(engine for engine in self._all if engine.state is EngineState.PARKED)

    @property
    def inventory(self) -> Inventory:
        return self.lifecycle.inventory()

    def _view(self, engine: Engine) -> EngineView:
        observed = self._observer is not None and engine.state is EngineState.ACTIVE
        return self._observer.view(engine) if self._observer is not None and observed else engine

    def _look(self) -> None:
        """Which engines there are to choose from; only changes of state and new observations alter it."""
        active = [engine for engine in self._all if engine.state is EngineState.ACTIVE]
        self.engines = self._active = tuple(map(self._view, active))
        if self._disaggregated:
            self._for_prefill = tuple(view for view in self._active if view.role is not Role.DECODE)
            self._for_decode = tuple(view for view in self._active if view.role is Role.DECODE)

    def _refreshed(self) -> None:
        self._look()
        self._offer_held()

    def _changed(self, engine: Engine) -> None:
        if self._observer is not None and engine.state is not _ACTIVE:
            self._observer.gone(engine)
        self._look()
        self._offer_held()

    # --- carrying out the router's decisions --------------------------------------------------------------------------

    def dispatch(self, request: Request) -> None:
        """Route a request that has just arrived, has been prefilled, or has lost its engine."""
        if request.source is None and not request.attempts:
            self._arriving.came(request)
        hold = self._carry_out(request)
        if hold is not None:
            self._held.add(request, hold)
            self._is_held()

    def _carry_out(self, request: Request) -> Hold | None:
        """Ask the router and do as it says. The decision, if it is to hold the request."""
        self.tell_router()
        if self._disaggregated:
            self.engines = self._for_prefill if request.source is None else self._for_decode
            decision = self._router.route(request, self)
            self.engines = self._active
        else:
            decision = self._router.route(request, self)
        if isinstance(decision, Assign):
            engine = self._by_id.get(decision.engine)
            if engine is None or engine.state is not _ACTIVE or engine.model != request.model:
                raise InputError(
                    f"policy.router: assigned request {request.id} to {decision.engine!r}, which is not an active engine that "
                    f"serves {request.model}; a router may only name engines of its view that serve the request's model"
                )
            if self._disaggregated and (engine.role is Role.DECODE) == (request.source is None):
                phase = "prefill" if request.source is None else "decode"
                raise InputError(
                    f"policy.router: assigned request {request.id} to {engine.id}, which does not {phase}; a router may only name "
                    "engines of its view"
                )
            if request.source is None:
                engine.enqueue(request)
            else:
                assert isinstance(engine, DecodeEngine)
                request.pulled_by = engine
                engine.expect(request)
            if self._observer is not None:
                self._observer.sent(request, decision.engine)
            return None
        if isinstance(decision, Hold):
            return decision
        if not isinstance(decision, Shed):
            raise InputError(
                f"policy.router: answered {decision!r} for request {request.id}; a router answers with Assign, Hold or Shed"
            )
        self._release(request)
        self._journal.shed(request)
        self._finish(request)
        return None

    def _offer_held(self) -> None:
        if self._held.count and not self._offering:
            self._offering = True
            self._kernel.call_at(self._kernel._now, ROUTE, self._offer)

    def _offer(self, _: Bell) -> None:
        self._offering = False
        self._held.offer(self._carry_out)
        if self._held.count:
            self._is_held()

    # --- what engines report ------------------------------------------------------------------------------------------

    def on_finished(self, engine: Engine, requests: Sequence[Request]) -> None:
        """An engine completed requests: who is held gets another offer."""
        for request in requests:
            self._has_completed(request, self._kernel._now)
            self._finish(request)
        if engine.state is not _ACTIVE:
            self.lifecycle.left(engine)
        self._offer_held()

    def on_prefilled(self, engine: PrefillEngine, requests: Sequence[Request]) -> None:
        """A prefill engine has given requests their next token: the router is asked where they decode, as for arrivals."""
        for request in requests:
            request.source = engine
        self._kernel.call_at(self._kernel._now, ARRIVAL, lambda _: self._dispatch_prefilled(engine, requests))
        self._offer_held()

    def _dispatch_prefilled(self, engine: Engine, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.source is engine:  # else the engine has failed at this very instant
                self.dispatch(request)

    def _pull(self, request: Request, tokens: int) -> None:
        """A decode engine has room for a request: its KV is sent."""
        source, target = request.source, request.pulled_by
        assert source is not None
        assert target is not None
        self.links.send(request, source, target, tokens, self._arrived)

    def _arrived(self, request: Request) -> None:
        target = request.pulled_by
        assert target is not None
        self._release(request)
        target.receive(request)
        self._offer_held()

    def _release(self, request: Request) -> None:
        """The KV that a prefill engine holds for the request is not needed any more."""
        source = request.source
        request.source = request.pulled_by = None
        if source is not None:
            source.end_lease(request)
            self.lifecycle.left(source)

    # --- failures -----------------------------------------------------------------------------------------------------

    def fail(self, engine: Engine, down_s: float) -> None:
        """An engine fails with all that is on it. One that is parked or down already does not."""
        if engine.state in (EngineState.PARKED, EngineState.FAILED):
            return
        self.losses.failures += 1
        left_behind = engine.leased
        lost = engine.fail()
        self.lifecycle.fail(engine, down_s)
        for request in lost:
            if request.pulled_by is engine:  # its KV has not come yet, and is where it was
                self.links.cancel(request)
                request.pulled_by = None
            self._lost(request, engine)
        for request in left_behind:
            target, request.source, request.pulled_by = request.pulled_by, None, None
            if target is None:
                self._held.remove(request)
            else:
                self.links.cancel(request)
                target.forget(request)
                self.lifecycle.left(target)
            self._lost(request, engine)

    def _lost(self, request: Request, engine: Engine) -> None:
        """Send a request on its way again, or give it up."""
        request.attempts += 1
        self._journal.lost(request, engine.index)
        if request.attempts <= self._retries:
            self.losses.retried += 1
            request.restart()
            self.dispatch(request)
            return
        self._release(request)
        self.losses.given_up += 1
        self._journal.failed(request, engine.index)
        self._finish(request)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, request: Request) -> None:
        self.done += 1
        if self.on_done is not None:
            self.on_done(request)

    def close(self) -> None:
        """The run is over: enter in the journal what is still held, queued or running."""
        for request in self._held.requests:
            self._journal.unfinished(request, -1 if request.source is None else request.source.index, -1)
        for engine in self._all:
            engine.close()
