"""Whether a decision about the fleet can be carried out. Both worlds ask here before they change anything, and so does the kit."""

from __future__ import annotations

from policies.decisions import Activate, Drain, Move, Scale
from policies.types import EngineState, FleetView

_FROM: dict[type, tuple[EngineState, ...]] = {
    Activate: (EngineState.PARKED, EngineState.DRAINING),
    Drain: (EngineState.STARTING, EngineState.ACTIVE),
    Move: (EngineState.STARTING, EngineState.ACTIVE),
}
"""The states in which an engine can be changed so."""


def scale_fault(scale: object, fleet: FleetView) -> str | None:
    """What is wrong with a scaler's answer, and what to do; ``None`` if it can be carried out on ``fleet``."""
    if not isinstance(scale, Scale):
        return f"answered {scale!r}; a scaler answers with Scale"
    if not scale.next_at_s > fleet.now_s:
        return f"wants to be asked again at {scale.next_at_s!r} s, and it is {fleet.now_s!r} s; name a later time, or inf"
    if not scale.changes:
        return None
    states = {engine.id: engine.state for engine in fleet.members}
    inventory = fleet.inventory
    free = dict(inventory.free)
    changed: set[str] = set()
    for change in scale.changes:
        kind = type(change)
        if kind not in _FROM:
            return f"lists {change!r} among its changes; a change is an Activate, a Drain or a Move"
        name = change.engine
        if name not in states:
            return f"names engine {name!r}, which the fleet does not have; name one of fleet.members"
        if name in changed:
            return f"changes engine {name} twice in one answer; name every engine once"
        if states[name] not in _FROM[kind]:
            return f"answers {kind.__name__} for engine {name}, which is {states[name]}; it must be {' or '.join(_FROM[kind])}"
        changed.add(name)
        seat = inventory.seats.get(name)
        if seat is None:
            continue
        if kind is Drain and states[name] is EngineState.STARTING:
            free[seat.gpu] = free.get(seat.gpu, 0) + seat.gpus
        if kind is Activate and states[name] is EngineState.PARKED:
            free[seat.gpu] = free.get(seat.gpu, 0) - seat.gpus
            if free[seat.gpu] < 0:
                left = free[seat.gpu] + seat.gpus
                return (
                    f"answers Activate for engine {name}, which takes {seat.gpus} {seat.gpu}, and {left} are free; "
                    "wait until an engine that drains is parked, or look at fleet.inventory"
                )
    return None
