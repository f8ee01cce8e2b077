"""The fleet: engines, the router in front of them, and the one interpreter of routing decisions in the real world.

It knows nothing of vLLM, and not whether time is the wall's or made up. A request's way is that of the simulator: the router names
an engine, or holds the request. Where prefill and decode are apart, that is a prefill engine; when it is done, the router is asked
again, now with the decode engines in its view. A request that loses its engine to a fault of the scenario's starts over: the tokens
that it was given count, and are computed again along with the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from policies.decisions import Assign, Hold, Shed
from policies.held import Held
from policies.memory import FleetMemory
from policies.protocols import Router, Scaler
from policies.seating import Inventory, Seat, Seating
from policies.types import EngineState, EngineView, RequestView, Role
from replay.clock import Clock, Turn
from replay.engine import Engine
from replay.journal import Journal
from replay.lifecycle import Idle, Lifecycle, Power
from replay.observation import Observer
from replay.request import Request
from replay.scaling import Scaling
from traces.errors import InputError

COMPLETED, SHED, UNFINISHED, FAILED = "completed", "shed", "unfinished", "failed"


class Fleet(FleetMemory):
    """Routes requests and listens to engines. It is the ``FleetView`` that its router and its scaler are shown, and the engines'
    ``Listener``.

    ``observe_s``: refresh interval of what the router sees of engines that run in this process; 0 = always the present state.
    Engines elsewhere are seen as they last told, so leave it at 0 for them. ``seats``: of each engine, by index. ``gpus``: by type,
    that there are, where they are fewer than all engines together need. ``retries``: how often a request may lose its engine to a
    fault and start over.
    """

    def __init__(
        self,
        clock: Clock,
        router: Router,
        journal: Journal,
        seats: Sequence[Seat] = (),
        *,
        gpus: Mapping[str, int] | None = None,
        observe_s: float = 0.0,
        retries: int = 0,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._router = router
        self._journal = journal
        self._observe_s = observe_s
        self._seating = Seating({f"e{index}": seat for index, seat in enumerate(seats)}, gpus)
        self._retries = retries
        self._observer: Observer | None = None
        self._engines: dict[str, Engine] = {}
        self._states: dict[str, EngineState] = {}
        self._held: Held[Request] = Held()
        self._offering = False
        self._disaggregated = False
        self._phase: Role | None = None
        """While the router is asked: what the request needs an engine for, where prefill and decode are apart."""
        self.lifecycle: Lifecycle
        self.hand_overs = 0
        """Requests that a decode engine has taken over."""
        self.offered = 0
        """Requests dispatched."""
        self.done = 0
        """Requests that have an outcome."""
        self.on_done: Callable[[Request], None] | None = None
        """Called for each of them."""

    def set_engines(self, engines: Sequence[Engine], power: Power | None = None) -> None:
        """The engines of the fleet, in the order in which routers see them. ``power``: default: they come up at once."""
        self._engines = {engine.id: engine for engine in engines}
        self._disaggregated = any(engine.role is not Role.BOTH for engine in engines)
        for engine in engines:
            self._note_state(engine)
        self.lifecycle = Lifecycle(self._clock, engines, power or Idle(self._clock, [0.0] * len(engines)), self._changed)
        if self._observe_s:
            self._observer = Observer(self._clock, engines, self._observe_s, self._offer_held, lambda: self.done < self.offered)

    def set_scaler(self, scaler: Scaler) -> None:
        """Ask a scaler, at once and then as it wishes."""
        self._scaling = Scaling(self._clock, scaler, self, self.lifecycle, self._engines)

    # --- FleetView ----------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self._clock.now()

    @property
    def engines(self) -> Sequence[EngineView]:
        active = [engine for engine in self._engines.values() if engine.state is EngineState.ACTIVE]
        if self._phase is not None:
            active = [engine for engine in active if (engine.role is Role.DECODE) == (self._phase is Role.DECODE)]
        return list(map(self._seen, active))

    @property
    def members(self) -> Sequence[EngineView]:
        return [self._seen(engine) for engine in self._engines.values()]

    @property
    def idle(self) -> Sequence[EngineView]:
        return [self._seen(engine) for engine in self._engines.values() if engine.state is EngineState.PARKED]

    @property
    def held(self) -> Sequence[RequestView]:
        return self._held.requests

    @property
    def inventory(self) -> Inventory:
        return self._seating.inventory({engine.id for engine in self._engines.values() if engine.state is EngineState.PARKED})

    def _seen(self, engine: Engine) -> EngineView:
        observed = self._observer is not None and engine.state is EngineState.ACTIVE
        return self._observer.view(engine) if self._observer is not None and observed else engine.view

    # --- carrying out the router's decisions --------------------------------------------------------------------------

    def dispatch(self, request: Request) -> None:
        """Route a request that has just arrived."""
        self.offered += 1
        self._arriving.came(request)
        self._journal.offered(request)
        self._route(request)

    def _route(self, request: Request) -> None:
        if (hold := self._carry_out(request)) is not None:
            self._held.add(request, hold)
            self._is_held()

    def _carry_out(self, request: Request) -> Hold | None:
        """Ask the router and do as it says. The decision, if it is to hold the request."""
        if self._disaggregated:
            self._phase = Role.PREFILL if request.kv_engine is None else Role.DECODE
        self.tell_router()
        self._clock.hold()
        try:
            decision = self._router.route(request, self)
        finally:
            self._clock.go_on()
            self._phase = None
        if isinstance(decision, Hold):
            return decision
        if isinstance(decision, Assign):
            self._assign(request, decision.engine)
        elif isinstance(decision, Shed):
            self._end(request, SHED, decision.reason)
        else:
            raise InputError(
                f"policy.router: answered {decision!r} for request {request.id}; a router answers with Assign, Hold or Shed"
            )
        return None

    def _assign(self, request: Request, name: str) -> None:
        engine = self._engines.get(name)
        if engine is None or engine.state is not EngineState.ACTIVE or engine.model != request.model:
            raise InputError(
                f"policy.router: assigned request {request.id} to {name!r}, which is not an active engine that "
                f"serves {request.model}; a router may only name engines of its view that serve the request's model"
            )
        if self._disaggregated and (engine.role is Role.DECODE) == (request.kv_engine is None):
            phase = "prefill" if request.kv_engine is None else "decode"
            raise InputError(
                f"policy.router: assigned request {request.id} to {engine.id}, which does not {phase}; a router may only name "
                "engines of its view"
            )
        request.engine = engine.id
        engine.submit(request)
        if self._observer is not None:
            self._observer.sent(request, engine)
        if request.kv_engine is not None:
            self.hand_overs += 1
            request.kv_engine = None

    def _offer_held(self) -> None:
        if self._held.count and not self._offering:
            self._offering = True
            self._clock.call_at(self._clock.now(), Turn.ROUTE, self._offer)

    def _offer(self) -> None:
        self._offering = False
        self._held.offer(self._carry_out)
        if self._held.count:
            self._is_held()

    # --- Listener -----------------------------------------------------------------------------------------------------

    def on_token(self, request: Request, tokens: int, at_s: float) -> None:
        request.emitted(tokens, at_s)

    def on_finished(self, request: Request, at_s: float) -> None:
        self._has_completed(request, at_s)
        self._end(request, COMPLETED)
        self._left(request)

    def on_prefilled(self, request: Request, at_s: float) -> None:
        """The router is asked where the request decodes, as for an arrival."""
        source = request.kv_engine = request.engine
        self._clock.call_at(self._clock.now(), Turn.ARRIVAL, lambda: self._route(request) if request.kv_engine == source else None)
        self._left(request)

    def on_failed(self, request: Request, at_s: float, why: str) -> None:
        self._end(request, FAILED, why)
        self._left(request)

    def on_state(self, engine: Engine) -> None:
        """An engine has told what is new; or its server has died, or answers again."""
        known = self._states.get(engine.id)  # none before the run begins
        if known is not None and known is not engine.state:
            self.lifecycle.changed(engine)
        else:
            self._offer_held()

    def _left(self, request: Request) -> None:
        """A request has left its engine: who is held gets another offer."""
        if (engine := self._engines.get(request.engine or "")) is not None and engine.state is EngineState.DRAINING:
            self.lifecycle.left(engine)
        self._offer_held()

    def _changed(self, engine: Engine) -> None:
        self._note_state(engine)
        if self._observer is not None:
            self._observer.changed(engine)
        self._offer_held()

    def _note_state(self, engine: Engine) -> None:
        if self._states.get(engine.id) is not engine.state:
            self._states[engine.id] = engine.state
            self._journal.stage(self._clock.now(), engine.index, engine.state)

    # --- failures -----------------------------------------------------------------------------------------------------

    def fail(self, engine: Engine, down_s: float) -> None:
        """A fault of the scenario's: an engine fails with all that is on it. One that is parked or down already does not."""
        if engine.state in (EngineState.PARKED, EngineState.FAILED):
            return
        self.losses.failures += 1
        left_behind = [request for request in self._held.requests if request.kv_engine == engine.id]
        lost = engine.lose()
        self.lifecycle.fail(engine, down_s)
        for request in left_behind:
            self._held.remove(request)
        for request in (*lost, *left_behind):
            self._lost(request, engine)

    def _lost(self, request: Request, engine: Engine) -> None:
        """Send a request on its way again, or give it up."""
        request.attempts += 1
        if request.attempts <= self._retries:
            self.losses.retried += 1
            request.restart()
            self._route(request)
            return
        self.losses.given_up += 1
        self._end(request, FAILED, f"{engine.id} failed, as the scenario's faults say")

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, request: Request, outcome: str, reason: str = "") -> None:
        if request.outcome is not None:
            return
        request.outcome, request.reason = outcome, reason
        self.done += 1
        if self.on_done is not None:
            self.on_done(request)

    def close(self) -> None:
        """The run is over: whoever has no outcome yet is unfinished, and the engines are closed."""
        self.on_done = None
        for request in self._journal.requests:
            self._end(request, UNFINISHED, "the run ended")
        for engine in self._engines.values():
            engine.close()
