"""Which GPUs are taken; both worlds keep count in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping

from policies.types import Inventory, Seat


class Seating:
    """The seats of a fleet's engines, by id. ``limit``: GPUs by type that there are; of types not in it, as many as all seats."""

    __slots__ = ("_limit", "_seats")

    def __init__(self, seats: Mapping[str, Seat], limit: Mapping[str, int] | None = None) -> None:
        every = Counter[str]()
        for seat in seats.values():
            every[seat.gpu] += seat.gpus
        self._seats = seats
        self._limit = {gpu: (limit or {}).get(gpu, count) for gpu, count in every.items()}

    def inventory(self, parked: Container[str]) -> Inventory:
        """While these engines are parked and all others occupy their GPUs."""
        free = dict(self._limit)
        for engine, seat in self._seats.items():
            if engine not in parked:
                free[seat.gpu] -= seat.gpus
        return Inventory(self._limit, free, self._seats)
