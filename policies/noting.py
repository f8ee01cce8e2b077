"""Views that note what a policy reads of them, so that a decision log holds all that a decision rests on, and no more.

Numbers are cheap and always logged. An engine's requests, their prefix blocks, the believed latency and what the router holds are
logged only for decisions that read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from policies.intent import Intent
from policies.latency import LatencyModel
from policies.seating import Inventory
from policies.types import Arrivals, Completed, EngineState, EngineView, FleetView, RequestView
from policies.views import FUTURE, completed_data, engine_data, inventory_data, request_data


class NotedRequest:
    """A ``RequestView`` that notes whether its prefix blocks, or (by an oracle) its future, were read."""

    __slots__ = ("_foretold", "_prefix", "_view")

    def __init__(self, view: RequestView) -> None:
        self._view = view
        self._prefix = self._foretold = False

    @property
    def prefix_blocks(self) -> Sequence[int]:
        self._prefix = True
        return self._view.prefix_blocks

    def __getattr__(self, name: str) -> Any:
        if name == FUTURE:
            self._foretold = True
        return getattr(self._view, name)

    def data(self, *, prefix: bool = False) -> dict[str, Any]:
        """``request_data``, with the prefix blocks if they were read or are asked for."""
        data = request_data(self._view, prefix=prefix or self._prefix)
        if self._foretold:
            data[FUTURE] = getattr(self._view, FUTURE)
        return data


_SEQUENCES = ("running", "waiting", "arrived")


class NotedEngine:
    """A ``StepView`` that notes which of its sequences were read, and whether its latency model was."""

    __slots__ = ("_departed", "_latency", "_read", "_view")

    def __init__(self, view: EngineView) -> None:
        self._view: Any = view
        self._read: dict[str, list[NotedRequest]] = {}
        self._departed: list[int] | None = None
        self._latency: LatencyModel | None = None

    @property
    def running(self) -> Sequence[RequestView]:
        return self._noted("running")

    @property
    def waiting(self) -> Sequence[RequestView]:
        return self._noted("waiting")

    @property
    def arrived(self) -> Sequence[RequestView]:
        return self._noted("arrived")

    @property
    def departed(self) -> Sequence[int]:
        if self._departed is None:
            self._departed = list(self._view.departed)
        return self._departed

    def _noted(self, name: str) -> Sequence[RequestView]:
        if name not in self._read:
            self._read[name] = list(map(NotedRequest, getattr(self._view, name)))
        return self._read[name]

    @property
    def latency(self) -> LatencyModel:
        self._latency = self._view.latency
        return self._latency

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    @property
    def latency_read(self) -> LatencyModel | None:
        """The latency model, if it was read."""
        return self._latency

    def data(self) -> dict[str, Any]:
        """``engine_data``, with the sequences that were read."""
        data = engine_data(self._view)
        for name in _SEQUENCES:
            if name in self._read:
                data[name] = [request.data() for request in self._read[name]]
        if self._departed is not None:
            data["departed"] = self._departed
        return data


class NotedFleet:
    """A ``FleetView`` of noted engines. ``members_read``: every engine, once they have been read; ``members``: from the start."""

    __slots__ = ("_arrivals", "_completed", "_held", "_intents", "_inventory", "_view", "engines", "members_read")

    def __init__(self, view: FleetView, *, members: bool = False) -> None:
        self._view = view
        self._held: list[NotedRequest] | None = None
        self._completed: Sequence[Completed] | None = None
        self._inventory: Inventory | None = None
        self._arrivals: Sequence[Arrivals] | None = None
        self._intents: Mapping[str, Intent] | None = None
        self.engines = list(map(NotedEngine, view.engines))
        self.members_read: list[NotedEngine] | None = None
        if members:
            self.members_read = self.members

    @property
    def now_s(self) -> float:
        return self._view.now_s

    @property
    def held(self) -> Sequence[RequestView]:
        if self._held is None:
            self._held = list(map(NotedRequest, self._view.held))
        return self._held

    @property
    def completed(self) -> Sequence[Completed]:
        self._completed = self._view.completed
        return self._completed

    @property
    def members(self) -> list[NotedEngine]:
        if self.members_read is None:
            noted = {engine.id: engine for engine in self.engines}
            self.members_read = [noted.get(engine.id) or NotedEngine(engine) for engine in self._view.members]
        return self.members_read

    @property
    def idle(self) -> Sequence[NotedEngine]:
        return [engine for engine in self.members if engine.state is EngineState.PARKED]

    @property
    def inventory(self) -> Inventory:
        self._inventory = self._view.inventory
        return self._inventory

    @property
    def arrivals(self) -> Sequence[Arrivals]:
        self._arrivals = self._view.arrivals
        return self._arrivals

    @property
    def intents(self) -> Mapping[str, Intent]:
        self._intents = dict(self._view.intents)
        return self._intents

    def data(self) -> dict[str, Any]:
        """What was read beside engines: held and completed requests, the inventory, arrivals, intents."""
        data: dict[str, Any] = {}
        if self._held is not None:
            data["held"] = [request.data() for request in self._held]
        if self._completed is not None:
            data["completed"] = list(map(completed_data, self._completed))
        if self._inventory is not None:
            data["inventory"] = inventory_data(self._inventory)
        if self._arrivals is not None:
            data["arrivals"] = list(map(asdict, self._arrivals))
        if self._intents is not None:
            data["intents"] = {model: asdict(intent) for model, intent in self._intents.items()}
        return data
