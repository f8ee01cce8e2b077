"""PolyServe's scaler: engines come from an idle pool when a tier's requests wait, and return when its last one is empty."""

from __future__ import annotations

from collections import Counter

from policies.decisions import Activate, Change, Drain, Move, Scale
from policies.polyserve.tiers import budget_s, tier_of
from policies.types import EngineState, EngineView, FleetView, Role

_UP = (EngineState.ACTIVE, EngineState.STARTING)


class PolyServe:
    """Moves engines between tiers and the idle pool.

    Up: as soon as requests of a tier are held, one engine of no tier moves to it, else a draining one is taken back, else a parked
    one starts; while engines start, one more for every ``per_start`` requests held beyond those. How long a start takes is the
    fleet's (``start_up``; the paper's engines start at once). Where the pool is empty and neither the tier nor a tighter one, which
    could take its requests, has an engine, the emptiest one of the looser tier with the most moves over: a small fleet would never
    serve the tier else. Down: every ``period_s``, in each tier the emptiest engine is drained
    when it has held no request of the tier itself at ``checks`` looks in a row; the router fills the fullest engine first, so the
    last one empties. Prefill engines stay as they are.

    Args:
        period_s: time between two looks, in seconds.
        checks: looks in a row at which an engine must be empty.
        per_start: held requests that one starting engine is trusted with.

    Source: PolyServe, arXiv 2507.17769, §4.4; period and number of checks as in its port to vLLM.
    """

    __slots__ = ("_empty", "_next_look_s", "checks", "per_start", "period_s")

    def __init__(self, *, period_s: float = 10.0, checks: int = 2, per_start: int = 32) -> None:
        if period_s <= 0:
            raise ValueError(f"period_s is {period_s:g}; it must be more than 0")
        if checks < 1 or per_start < 1:
            raise ValueError(f"checks is {checks} and per_start {per_start}; both must be at least 1")
        self.period_s = period_s
        self.checks = checks
        self.per_start = per_start
        self._next_look_s = 0.0
        self._empty: Counter[str] = Counter()

    def scale(self, fleet: FleetView) -> Scale:
        decoders = [engine for engine in fleet.members if engine.role is not Role.PREFILL]
        changes = self._up(decoders, fleet)
        if fleet.now_s >= self._next_look_s:
            changes += self._down(decoders, {change.engine for change in changes})
            self._next_look_s = fleet.now_s + self.period_s
        taken = {change.engine for change in changes}
        spare = any(_spare(engine) and engine.id not in taken for engine in decoders)  # without one, who is held need not be told
        return Scale(tuple(changes), next_at_s=self._next_look_s, on_hold=spare, reason="held requests, empty engines")

    def _up(self, engines: list[EngineView], fleet: FleetView) -> list[Change]:
        held = Counter((r.model, tier_of(r.slo)) for r in fleet.held)
        changes: list[Change] = []
        taken: set[str] = set()
        for (model, tier), count in sorted(held.items(), key=lambda item: budget_s(item[0][1])):
            alike = [e for e in engines if e.model == model]
            starting = sum(e.tier == tier and e.state is EngineState.STARTING for e in alike)
            while count > starting * self.per_start:
                ready = [e for e in alike if e.id not in taken and _spare(e)]
                if not ready:
                    if starting == 0 and (engine := _taken_over(alike, tier, taken)) is not None:
                        taken.add(engine.id)
                        changes.append(Move(engine.id, f"no engine for {tier}, {engine.tier} has the most", tier))
                    break
                engine = min(ready, key=_nearness)
                taken.add(engine.id)
                reason = f"{count} requests of {tier} are held"
                if engine.state in _UP:
                    changes.append(Move(engine.id, reason, tier))
                else:
                    changes.append(Activate(engine.id, reason, tier))
                starting += 1
        return changes

    def _down(self, engines: list[EngineView], busy: set[str]) -> list[Change]:
        changes: list[Change] = []
        tiers: dict[tuple[str, str], list[EngineView]] = {}
        for engine in engines:
            if engine.state is EngineState.ACTIVE and engine.tier is not None and engine.id not in busy:
                tiers.setdefault((engine.model, engine.tier), []).append(engine)
        empty: Counter[str] = Counter()
        for (_, tier), members in tiers.items():
            last = min(members, key=lambda e: e.running_count + e.waiting_count)
            if any(tier_of(r.slo) == tier for r in (*last.running, *last.waiting)):
                continue
            empty[last.id] = self._empty[last.id] + 1
            if empty[last.id] >= self.checks:
                changes.append(Drain(last.id, f"no request of {tier} at {empty[last.id]} looks"))
        self._empty = empty
        return changes


def _taken_over(engines: list[EngineView], tier: str, taken: set[str]) -> EngineView | None:
    """An engine of the looser tier with the most of them; ``None`` where the tier, or a tighter one, has an engine."""
    tiers: dict[str, list[EngineView]] = {}
    for engine in engines:
        if engine.state in _UP and engine.tier is not None and engine.id not in taken:
            tiers.setdefault(engine.tier, []).append(engine)
    if any(budget_s(host) <= budget_s(tier) for host in tiers) or not tiers:
        return None
    richest = max(tiers, key=lambda name: (len(tiers[name]), budget_s(name)))
    return min(tiers[richest], key=lambda e: e.running_count + e.waiting_count)


def _spare(engine: EngineView) -> bool:
    """Whether an engine can be given to a tier: it is parked, draining, or up and of no tier."""
    return engine.state in (EngineState.PARKED, EngineState.DRAINING) or (engine.state in _UP and engine.tier is None)


def _nearness(engine: EngineView) -> int:
    """How soon an engine can serve a tier."""
    order = (EngineState.ACTIVE, EngineState.DRAINING, EngineState.STARTING, EngineState.PARKED)
    return order.index(engine.state)
