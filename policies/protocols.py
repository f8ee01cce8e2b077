"""The decision points, one small Protocol each. A policy is any object with the method; it need not inherit.

Life cycle: a policy is built once per run from its registered name and plain parameters, and is called by exactly one world.
It keeps what state it likes in itself, changes it only when called, reads time only from the view, and draws randomness only
from named streams made of the ``seed`` that its constructor is given (``policies.streams``), so that replaying its calls rebuilds
it anywhere. ``twinserve policies check`` (``traces.conformance``) tries all of it, and says what to do about what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from policies.decisions import Drafts, DraftShape, Routing, Scale, Selection, StepPlan
from policies.placement import Demand, Deployment
from policies.types import DraftView, FleetView, RequestView, StepView


@runtime_checkable
class Router(Protocol):
    """Called for every arrival, and again for each held request when a request finishes, an engine changes state, or the view is
    refreshed. Where prefill and decode are apart, called a second time when a request's prefill is done, for the engine to decode
    on: ``request.kv_engine`` tells, and the view holds engines of the fitting role.
    """

    def route(self, request: RequestView, fleet: FleetView) -> Routing: ...


@runtime_checkable
class Batcher(Protocol):
    """Called by an engine before a step, unless its last plan still stands (``StepPlan.valid_steps``)."""

    def plan(self, engine: StepView) -> StepPlan: ...


@runtime_checkable
class Speculator(Protocol):
    """Called by an engine with speculative decoding before every step in which requests decode: first for what is drafted, then
    for what of it is verified.

    An engine cuts what it cannot draft: chains longer than its own, and trees where it verifies chains alone, as vLLM does.
    Where steps are planned before the last one's tokens are known (asynchronous scheduling), there are no drafts to select from
    yet: ``select`` is not called, and the whole of every chain is verified.
    """

    def shape(self, engine: DraftView) -> DraftShape: ...
    def select(self, engine: DraftView, drafts: Drafts) -> Selection: ...


@runtime_checkable
class Scaler(Protocol):
    """Called when the fleet is up, before the first request, then when its last answer says (``next_at_s``, ``on_hold``), and when
    an intent changes (``FleetView.intents``).
    """

    def scale(self, fleet: FleetView) -> Scale: ...


@runtime_checkable
class Placer(Protocol):
    """Chooses engines for a demand out of those that the fleet's inventory has seats for, parked ones included.

    A scaler carries its choice out at run time (``policies.iserve.scaler``).
    """

    def place(self, demand: Sequence[Demand], fleet: FleetView) -> Deployment: ...
