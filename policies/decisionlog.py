"""The decision log: what was decided, why, and on which view, as one JSON-able mapping per decision. The same in both worlds.

A log is a pair of wrappers: the world asks the policy through them and neither of the two knows. ``Full`` keeps enough for a fresh
policy object to decide again (``policies.redecide``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from policies.decisions import Activate, Assign, Change, Drafts, DraftShape, Hold, Move, Routing, Scale, Selection, StepPlan
from policies.latency import LatencyModel
from policies.noting import NotedEngine, NotedFleet, NotedRequest
from policies.protocols import Batcher, Router, Scaler, Speculator
from policies.types import DraftView, EngineView, FleetView, RequestView, StepView


class DecisionLog(Protocol):
    """Takes note of decisions as they are made."""

    def router(self, router: Router) -> Router:
        """The same router, under observation."""

    def scaler(self, scaler: Scaler) -> Scaler:
        """The same scaler, under observation."""

    def batcher(self, engine: str, batcher: Batcher) -> Batcher:
        """The same batcher of the engine with that id, under observation."""

    def speculator(self, engine: str, speculator: Speculator) -> Speculator:
        """The same speculator of the engine with that id, under observation."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]: ...


class Summary:
    """Counts decisions by kind and reason: one line each, with the first and the last time."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], list[float]] = {}

    def router(self, router: Router) -> Router:
        def note(_: RequestView, fleet: FleetView, decision: Routing) -> None:
            self._count("router", decision, fleet.now_s)

        return _Routed(router, note)

    def scaler(self, scaler: Scaler) -> Scaler:
        def note(fleet: FleetView, scale: Scale) -> None:
            self._count("scaler", scale, fleet.now_s)
            for change in scale.changes:
                self._count("scaler", change, fleet.now_s)

        return _Scaled(scaler, note)

    def batcher(self, engine: str, batcher: Batcher) -> Batcher:
        def note(view: EngineView, plan: StepPlan) -> None:
            self._count("batcher", plan, view.now_s)

        return _Batched(batcher, note)

    def speculator(self, engine: str, speculator: Speculator) -> Speculator:
        def note(view: EngineView, decision: DraftShape | Selection) -> None:
            self._count("speculator", decision, view.now_s)

        return _Speculated(speculator, note)

    def _count(self, point: str, decision: Routing | StepPlan | Scale | Change | DraftShape | Selection, now_s: float) -> None:
        key = (point, type(decision).__name__, decision.reason)
        entry = self._counts.get(key)
        if entry is None:
            self._counts[key] = [1, now_s, now_s]
        else:
            entry[0] += 1
            entry[2] = now_s

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for (point, kind, reason), (count, first, last) in self._counts.items():
            yield {"point": point, "decision": kind, "reason": reason, "count": int(count), "first_s": first, "last_s": last}


class Full:
    """Keeps every decision with the view that it was made on: all numbers of it, and what else the policy read.

    An entry of point ``latency`` stands before the first decision that read a latency model: its index, by which views refer to
    it, and its fingerprint.
    """

    def __init__(self) -> None:
        self._entries: list[Mapping[str, Any]] = []
        self._models: list[LatencyModel] = []

    def router(self, router: Router) -> Router:
        return _FullRouter(router, self)

    def scaler(self, scaler: Scaler) -> Scaler:
        return _FullScaler(scaler, self)

    def batcher(self, engine: str, batcher: Batcher) -> Batcher:
        return _FullBatcher(engine, batcher, self)

    def speculator(self, engine: str, speculator: Speculator) -> Speculator:
        return _FullSpeculator(engine, speculator, self)

    def add(self, entry: Mapping[str, Any]) -> None:
        self._entries.append(entry)

    def engine(self, engine: NotedEngine) -> dict[str, Any]:
        """What is logged of an engine's view."""
        data = engine.data()
        if (model := engine.latency_read) is not None:
            data["latency"] = self._index(model)
        return data

    def fleet(self, entry: dict[str, Any], fleet: NotedFleet) -> None:
        """Adds what else of a fleet's view was read."""
        if fleet.members_read is not None:
            entry["members"] = list(map(self.engine, fleet.members_read))
        entry |= fleet.data()

    def _index(self, model: LatencyModel) -> int:
        for index, known in enumerate(self._models):
            if known is model:
                return index
        fingerprint = getattr(model, "fingerprint", None)
        facts = None if fingerprint is None else fingerprint.to_dict()
        self.add({"point": "latency", "latency": len(self._models), "kind": type(model).__name__, "fingerprint": facts})
        self._models.append(model)
        return len(self._models) - 1

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._entries)


def decision_log(level: str) -> Summary | Full | None:
    """The log for a level: off | summary | full."""
    return {"off": lambda: None, "summary": Summary, "full": Full}[level]()


def routing_data(decision: Routing, engines: Sequence[EngineView]) -> dict[str, Any]:
    """A routing decision as JSON-able data; ``engines`` are those of the view that it was made on."""
    data: dict[str, Any] = {"decision": type(decision).__name__, "reason": decision.reason}
    if isinstance(decision, Assign):
        data["engine"] = decision.engine
        data["scores"] = decision.named_scores(engines)
    if isinstance(decision, Hold) and decision.queue:
        data["queue"] = decision.queue
    return data


def scale_data(scale: Scale) -> dict[str, Any]:
    """A scaler's decision as JSON-able data; ``next_at_s`` is "inf" where it is not to be asked by time."""
    return {
        "decision": type(scale).__name__,
        "reason": scale.reason,
        "changes": [_change_data(change) for change in scale.changes],
        "next_at_s": "inf" if scale.next_at_s == math.inf else scale.next_at_s,
        "on_hold": scale.on_hold,
    }


def _change_data(change: Change) -> dict[str, Any]:
    data = {"change": type(change).__name__, "engine": change.engine, "reason": change.reason}
    return data | {"tier": change.tier} if isinstance(change, Activate | Move) else data


def plan_data(plan: StepPlan) -> dict[str, Any]:
    """A step plan as JSON-able data; ``valid_steps`` is "inf" for a plan that stands until something changes."""
    steps = plan.valid_steps
    return {
        "decision": type(plan).__name__,
        "reason": plan.reason,
        "token_budget": plan.token_budget,
        "order": None if plan.order is None else list(plan.order),
        "caps": None if plan.caps is None else {str(id): tokens for id, tokens in plan.caps.items()},
        "preempt": list(plan.preempt),
        "valid_steps": "inf" if steps == math.inf else steps,
        **({} if plan.admit is None else {"admit": list(plan.admit)}),
    }


def speculation_data(decision: DraftShape | Selection) -> dict[str, Any]:
    """One of a speculator's decisions as JSON-able data."""
    tokens = decision.tokens
    return {
        "decision": type(decision).__name__,
        "reason": decision.reason,
        "tokens": _by_id(tokens) if isinstance(tokens, Mapping) else tokens,
        **(_shape_data(decision) if isinstance(decision, DraftShape) else _nodes_data(decision)),
    }


def _shape_data(shape: DraftShape) -> dict[str, Any]:
    width = {} if shape.width == 1 else {"width": shape.width}
    return {"per_request": _by_id(shape.per_request), **width}


def _nodes_data(selection: Selection) -> dict[str, Any]:
    nodes = selection.nodes
    return {} if nodes is None else {"nodes": {str(id): list(chosen) for id, chosen in nodes.items()}}


def drafts_data(drafts: Drafts) -> dict[str, Any]:
    """What a selection was made from, as JSON-able data."""
    data: dict[str, Any] = {"drafts": {str(id): list(chain) for id, chain in drafts.chains.items()}}
    if drafts.trees is not None:
        data["trees"] = {str(id): [list(tree.parents), list(tree.given)] for id, tree in drafts.trees.items()}
    return data


def _by_id(tokens: Mapping[int, int] | None) -> dict[str, int] | None:
    return None if tokens is None else {str(id): number for id, number in tokens.items()}


class _FullRouter:
    __slots__ = ("_log", "_router")

    def __init__(self, router: Router, log: Full) -> None:
        self._router = router
        self._log = log

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        offered, seen, log = NotedRequest(request), NotedFleet(fleet), self._log
        decision = self._router.route(offered, seen)
        entry = {"point": "router", **routing_data(decision, fleet.engines), "now_s": fleet.now_s}
        entry["request"] = offered.data(prefix=True)
        entry["engines"] = list(map(log.engine, seen.engines))
        log.fleet(entry, seen)
        log.add(entry)
        return decision


class _FullScaler:
    __slots__ = ("_log", "_scaler")

    def __init__(self, scaler: Scaler, log: Full) -> None:
        self._scaler = scaler
        self._log = log

    def scale(self, fleet: FleetView) -> Scale:
        seen, log = NotedFleet(fleet, members=True), self._log
        scale = self._scaler.scale(seen)
        entry: dict[str, Any] = {"point": "scaler", **scale_data(scale), "now_s": fleet.now_s}
        log.fleet(entry, seen)
        log.add(entry)
        return scale


class _FullBatcher:
    __slots__ = ("_batcher", "_engine", "_log")

    def __init__(self, engine: str, batcher: Batcher, log: Full) -> None:
        self._engine = engine
        self._batcher = batcher
        self._log = log

    def plan(self, engine: StepView) -> StepPlan:
        seen, log = NotedEngine(engine), self._log
        plan = self._batcher.plan(seen)
        log.add({"point": "batcher", "engine": self._engine, **plan_data(plan), "now_s": engine.now_s, "view": log.engine(seen)})
        return plan


class _FullSpeculator:
    __slots__ = ("_engine", "_log", "_speculator")

    def __init__(self, engine: str, speculator: Speculator, log: Full) -> None:
        self._engine = engine
        self._speculator = speculator
        self._log = log

    def shape(self, engine: DraftView) -> DraftShape:
        seen = NotedEngine(engine)
        shape = self._speculator.shape(seen)
        self._note(shape, seen, {})
        return shape

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        seen = NotedEngine(engine)
        selection = self._speculator.select(seen, drafts)
        self._note(selection, seen, drafts_data(drafts))
        return selection

    def _note(self, decision: DraftShape | Selection, seen: NotedEngine, more: Mapping[str, Any]) -> None:
        entry = {"point": "speculator", "engine": self._engine, **speculation_data(decision), "now_s": seen.now_s, **more}
        view = {**self._log.engine(seen), "draft_s": seen.draft_s, "token_budget": seen.token_budget}
        self._log.add({**entry, "view": view})


class _Routed:
    __slots__ = ("_note", "_router")

    def __init__(self, router: Router, note: Callable[[RequestView, FleetView, Routing], None]) -> None:
        self._router = router
        self._note = note

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        decision = self._router.route(request, fleet)
        self._note(request, fleet, decision)
        return decision


class _Scaled:
    __slots__ = ("_note", "_scaler")

    def __init__(self, scaler: Scaler, note: Callable[[FleetView, Scale], None]) -> None:
        self._scaler = scaler
        self._note = note

    def scale(self, fleet: FleetView) -> Scale:
        scale = self._scaler.scale(fleet)
        self._note(fleet, scale)
        return scale


class _Batched:
    __slots__ = ("_batcher", "_note")

    def __init__(self, batcher: Batcher, note: Callable[[EngineView, StepPlan], None]) -> None:
        self._batcher = batcher
        self._note = note

    def plan(self, engine: StepView) -> StepPlan:
        plan = self._batcher.plan(engine)
        self._note(engine, plan)
        return plan


class _Speculated:
    __slots__ = ("_note", "_speculator")

    def __init__(self, speculator: Speculator, note: Callable[[EngineView, DraftShape | Selection], None]) -> None:
        self._speculator = speculator
        self._note = note

    def shape(self, engine: DraftView) -> DraftShape:
        shape = self._speculator.shape(engine)
        self._note(engine, shape)
        return shape

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        selection = self._speculator.select(engine, drafts)
        self._note(engine, selection)
        return selection
