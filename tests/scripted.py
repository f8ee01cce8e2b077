"""A scaler that does as it is told."""

from __future__ import annotations

from collections.abc import Sequence

from policies.decisions import Change, Scale
from policies.types import FleetView

NEVER = float("inf")


class Script:
    """A scaler that makes given changes at given times."""

    def __init__(self, *acts: tuple[float, Sequence[Change]], on_hold: bool = False) -> None:
        self.acts = list(acts)
        self.on_hold = on_hold
        self.asked: list[float] = []

    def scale(self, fleet: FleetView) -> Scale:
        self.asked.append(fleet.now_s)
        changes: list[Change] = []
        while self.acts and self.acts[0][0] <= fleet.now_s:
            changes += self.acts.pop(0)[1]
        return Scale(tuple(changes), self.acts[0][0] if self.acts else NEVER, self.on_hold, "as told")
