"""The decision points, one small Protocol each. A policy is any object with the method; it need not inherit.

Life cycle: a policy is built once per run from its registered name and plain parameters, and is called by exactly one world.
It keeps what state it likes in itself, changes it only when called, reads time only from the view, and draws randomness only
from named streams made of the ``seed`` that its constructor is given (``policies.streams``), so that replaying its calls rebuilds
it anywhere. ``twinserve policies check`` (``policies.check``) tries all of it, and says what to do about what it finds.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from policies.types import EngineView, FleetView, RequestView, Routing, StepPlan


@runtime_checkable
class Router(Protocol):
    """Called for every arrival, and again for each held request when a request finishes, an engine changes state, or the view is
    refreshed.
    """

    def route(self, request: RequestView, fleet: FleetView) -> Routing: ...


@runtime_checkable
class Batcher(Protocol):
    """Called by an engine before a step, unless its last plan still stands (``StepPlan.valid_steps``)."""

    def plan(self, engine: EngineView) -> StepPlan: ...
