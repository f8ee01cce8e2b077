"""GPUs that engines share: who is beside whom, and how much longer a step takes for it (``policies.interference``).

An engine that comes up is put on the GPU of its type with the fewest engines, the first of those. A step is as long as the engines
that are at work when it starts make it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from policies.interference import TIME_SLICED, slowdown
from policies.types import EngineState

if TYPE_CHECKING:
    from sim.engine import Engine


class SharedGPU:
    """One GPU, and the engines on it."""

    __slots__ = ("engines",)

    def __init__(self) -> None:
        self.engines: list[Engine] = []

    def slowdown(self, engine: Engine) -> float:
        """Of a step of one of its engines that starts now."""
        beside = engine.site.beside
        others = (other for other in self.engines if other is not engine and other.at_work)
        return slowdown(beside.get(other.site.pool, TIME_SLICED) for other in others)


class Sharing:
    """The shared GPUs of a fleet. ``gpus``: by type, that there are; of types not in it, as many as all engines take."""

    def __init__(self, engines: Sequence[Engine], gpus: Mapping[str, int] | None = None) -> None:
        shares: dict[str, float] = {}
        for engine in engines:
            seat = engine.site.seat
            if seat.share < 1:
                shares[seat.gpu] = shares.get(seat.gpu, 0.0) + seat.share
        counts = {gpu: (gpus or {}).get(gpu, math.ceil(share - 1e-9)) for gpu, share in shares.items()}
        self._gpus = {gpu: [SharedGPU() for _ in range(count)] for gpu, count in counts.items()}
        for engine in engines:
            self.changed(engine)

    def changed(self, engine: Engine) -> None:
        """An engine may have come up, or been parked."""
        seat = engine.site.seat
        if seat.share == 1:
            return
        if engine.state is EngineState.PARKED:
            if engine.gpu is not None:
                engine.gpu.engines.remove(engine)
                engine.gpu = None
        elif engine.gpu is None:
            engine.gpu = min(self._gpus[seat.gpu], key=lambda gpu: len(gpu.engines))
            engine.gpu.engines.append(engine)
