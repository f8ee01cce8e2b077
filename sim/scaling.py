"""The scaler of a simulated fleet, asked by the simulation's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.asking import Asking
from policies.completions import Completions
from policies.lawful import scale_fault
from policies.protocols import Scaler
from policies.types import Scale
from sim.engine import Engine
from sim.kernel import SCALE, Kernel
from sim.request import Request
from traces.errors import InputError

if TYPE_CHECKING:
    from sim.fleet import Fleet
    from sim.lifecycle import Lifecycle


class Scaling(Asking[Engine]):
    """Asks a scaler as ``Asking`` says."""

    def __init__(self, kernel: Kernel, scaler: Scaler, fleet: Fleet, lifecycle: Lifecycle, engines: dict[str, Engine]) -> None:
        self.news: Completions[Request] = Completions()

        def decide() -> Scale:
            fleet.completed = self.news.told()
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
