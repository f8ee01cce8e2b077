"""GPUs: which there are, and which are taken; both worlds keep count in the same way.

GPUs that engines share (``Seat.share``) are counted in places, one per engine, of which each GPU has as many as engines share it;
all engines on a type of GPU share it alike, so that any free place does for any of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Seat:
    """The GPUs that an engine has when it is up, and how its model is put on them.

    ``memory_bytes``: that it takes on all of them. ``start_up_s``: from being activated to serving, as believed.
    ``usd_per_gpu_hour``: price of one. ``share``: part of its GPU that it takes, 1 / the engines that share it.
    """

    gpu: str = "h200"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    precision: str = "bf16"
    kv_precision: str = "bf16"
    memory_bytes: float = 0.0
    start_up_s: float = 0.0
    usd_per_gpu_hour: float = 0.0
    share: float = 1.0

    @property
    def gpus(self) -> int:
        """GPUs, or places on them, that it takes."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def usd_per_hour(self) -> float:
        """Of all that it takes."""
        return self.gpus * self.share * self.usd_per_gpu_hour


@dataclass(frozen=True, slots=True)
class Inventory:
    """GPUs by type, or places: all there are, and those that no starting, active, draining or failed engine occupies.

    ``seats``: of every engine, by its id; parked ones are candidates, which together may need more GPUs than there are.
    """

    total: Mapping[str, int] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    seats: Mapping[str, Seat] = field(default_factory=dict)


class Seating:
    """The seats of a fleet's engines, by id. ``limit``: GPUs by type that there are; of types not in it, as many as all seats."""

    __slots__ = ("_limit", "_seats")

    def __init__(self, seats: Mapping[str, Seat], limit: Mapping[str, int] | None = None) -> None:
        every = Counter[str]()
        places: dict[str, int] = {}
        for seat in seats.values():
            every[seat.gpu] += seat.gpus
            places[seat.gpu] = round(1 / seat.share)
        self._seats = seats
        self._limit = {gpu: limit[gpu] * places[gpu] if limit and gpu in limit else count for gpu, count in every.items()}

    def inventory(self, parked: Container[str]) -> Inventory:
        """While these engines are parked and all others occupy their GPUs."""
        free = dict(self._limit)
        for engine, seat in self._seats.items():
            if engine not in parked:
                free[seat.gpu] -= seat.gpus
        return Inventory(self._limit, free, self._seats)
