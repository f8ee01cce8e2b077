"""Baseline scalers: how many engines are up."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil

from policies.decisions import Activate, Change, Drain, Scale
from policies.types import EngineState, EngineView, FleetView, Role

_Group = tuple[str, str, str | None]
"""Model, role and tier: engines that stand in for each other."""


class Fixed:
    """Leaves the fleet as it is."""

    __slots__ = ()

    def scale(self, fleet: FleetView) -> Scale:
        return Scale(reason="a fixed fleet")


class TargetLoad:
    """Keeps the unfinished requests per engine at ``target``: the rule of Kubernetes' horizontal pod autoscaler.

    Wanted engines = ⌈engines × (load ÷ target)⌉, the load being running and waiting requests per engine that is up or starts, held
    requests of their model included; within ``tolerance`` of the target nothing changes. Engines go only down to the most that was
    wanted within the last ``stabilisation_s``, and those at the start count as wanted. Engines of one model, role and tier are
    scaled together. Draining engines are taken back before parked ones start; the emptiest are drained first.

    Args:
        target: unfinished requests per engine.
        period_s: time between two looks, in seconds.
        tolerance: relative deviation from the target that is left alone.
        stabilisation_s: how long a higher want counts, in seconds.
        min_engines: of each model, role and tier, that stay up.

    Source: Kubernetes documentation, "Horizontal Pod Autoscaling", algorithm details and default behaviour: sync period 15 s,
    tolerance 0.1, downscale stabilisation 300 s.
    """

    __slots__ = ("_wanted", "min_engines", "period_s", "stabilisation_s", "target", "tolerance")

    def __init__(
        self,
        *,
        target: float = 32.0,
        period_s: float = 15.0,
        tolerance: float = 0.1,
        stabilisation_s: float = 300.0,
        min_engines: int = 1,
    ) -> None:
        for name, value in (("target", target), ("period_s", period_s)):
            if value <= 0:
                raise ValueError(f"{name} is {value:g}; it must be more than 0")
        for name, value in (("tolerance", tolerance), ("stabilisation_s", stabilisation_s), ("min_engines", min_engines)):
            if value < 0:
                raise ValueError(f"{name} is {value:g}; it must be at least 0")
        self.target = target
        self.period_s = period_s
        self.tolerance = tolerance
        self.stabilisation_s = stabilisation_s
        self.min_engines = min_engines
        self._wanted: dict[_Group, deque[tuple[float, int]]] = {}
        """Past wants by group, within the stabilisation window."""

    def scale(self, fleet: FleetView) -> Scale:
        groups: dict[_Group, list[EngineView]] = {}
        for engine in fleet.members:
            groups.setdefault((engine.model, engine.role, engine.tier), []).append(engine)
        changes: list[Change] = []
        for group, engines in groups.items():
            changes += self._group(group, engines, fleet)
        return Scale(tuple(changes), next_at_s=fleet.now_s + self.period_s, reason="unfinished requests per engine")

    def _group(self, group: _Group, engines: list[EngineView], fleet: FleetView) -> Sequence[Change]:
        up = [e for e in engines if e.state in (EngineState.ACTIVE, EngineState.STARTING)]
        load = sum(e.running_count + e.waiting_count for e in up) + self._held(group, fleet)
        wanted = len(up)
        if not up or abs(load / len(up) / self.target - 1) > self.tolerance:
            wanted = ceil(load / self.target)
        wanted = max(wanted, self.min_engines)
        past = self._wanted.setdefault(group, deque([(fleet.now_s, len(up))]))
        past.append((fleet.now_s, wanted))
        while past[0][0] < fleet.now_s - self.stabilisation_s:
            past.popleft()
        if wanted < len(up):
            wanted = min(len(up), max(want for _, want in past))
        reason = f"{load:g} unfinished requests on {len(up)} engines, {wanted} wanted"
        if wanted >= len(up):
            ready = [e for e in engines if e.state is EngineState.DRAINING]
            ready += [e for e in engines if e.state is EngineState.PARKED]
            return [Activate(e.id, reason, e.tier) for e in ready[: wanted - len(up)]]
        emptiest = list(reversed(up))
        emptiest.sort(key=lambda e: (e.state is EngineState.ACTIVE, e.running_count + e.waiting_count))
        return [Drain(e.id, reason) for e in emptiest[: len(up) - wanted]]

    def _held(self, group: _Group, fleet: FleetView) -> int:
        """Held requests that this group could take."""
        model, role, tier = group
        phase = {Role.PREFILL: False, Role.DECODE: True}.get(Role(role))
        return sum(
            request.model == model and tier in (None, request.tier) and phase in (None, request.kv_engine is not None)
            for request in fleet.held
        )
