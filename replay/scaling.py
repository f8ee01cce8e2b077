"""The scaler of real engines, asked by the replay's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from policies.asking import Asking
from policies.decisions import Scale
from policies.lawful import scale_fault
from policies.protocols import Scaler
from replay.clock import Clock, Turn
from replay.engine import Engine
from replay.lifecycle import Lifecycle
from traces.errors import InputError

if TYPE_CHECKING:
    from replay.fleet import Fleet


class Scaling(Asking[Engine]):
    """Asks a scaler as ``Asking`` says; while it decides, time stands still for it."""

    def __init__(self, clock: Clock, scaler: Scaler, fleet: Fleet, lifecycle: Lifecycle, engines: Mapping[str, Engine]) -> None:
        def decide() -> Scale:
            fleet.tell_scaler()
            clock.hold()
            try:
                scale = scaler.scale(fleet)
                if fault := scale_fault(scale, fleet):
                    raise InputError(f"policy.scaler: {fault}")
            finally:
                clock.go_on()
            return scale

        super().__init__(
            decide, clock.now, lambda time, action: clock.call_at(time, Turn.SCALE, action), lifecycle, engines, InputError
        )
