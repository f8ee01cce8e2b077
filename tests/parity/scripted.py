"""A scaler that does the same whatever the load, for runs whose speed nobody knows."""

from __future__ import annotations

from policies.decisions import Activate, Change, Drain, Move, Scale
from policies.types import EngineState, FleetView


class ByTheClock:
    """Activates e1 from 0.2 s on, sets it aside for a tier at 0.4 s, and drains e0 from 0.6 s on."""

    def scale(self, fleet: FleetView) -> Scale:
        engines = {engine.id: engine for engine in fleet.members}
        changes: list[Change] = []
        if fleet.now_s >= 0.2 and engines["e1"].state is EngineState.PARKED:
            changes.append(Activate("e1", "it is time"))
        if fleet.now_s >= 0.4 and engines["e1"].state is EngineState.ACTIVE and engines["e1"].tier is None:
            changes.append(Move("e1", "it is time", "fast"))
        if fleet.now_s >= 0.6 and engines["e0"].state is EngineState.ACTIVE:
            changes.append(Drain("e0", "it is time"))
        return Scale(tuple(changes), fleet.now_s + 0.05, reason="by the clock")
