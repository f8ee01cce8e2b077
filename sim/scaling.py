"""The scaler of a simulated fleet, asked by the simulation's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.asking import Asking
from policies.decisions import Scale
from policies.lawful import scale_fault
from policies.protocols import Scaler
from sim.engine import Engine
from sim.kernel import SCALE, Kernel
from traces.errors import InputError

if TYPE_CHECKING:
    from sim.fleet import Fleet
    from sim.lifecycle import Lifecycle


class Scaling(Asking[Engine]):
    """Asks a scaler as ``Asking`` says."""

    def __init__(self, kernel: Kernel, scaler: Scaler, fleet: Fleet, lifecycle: Lifecycle, engines: dict[str, Engine]) -> None:
        def decide() -> Scale:
            fleet.tell_scaler()
            scale = scaler.scale(fleet)
            if fault := scale_fault(scale, fleet):
                raise InputError(f"policy.scaler: {fault}")
            return scale

        super().__init__(
            decide,
            lambda: kernel.now,
            lambda time, action: kernel.call_at(time, SCALE, lambda _: action()),
            lifecycle,
            engines,
            InputError,
        )
