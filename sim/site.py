"""Where an engine runs: what the fleet has to know of it beside its live state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.seating import Seat
from policies.types import Role

ONE_GPU = Seat()


@dataclass(frozen=True, slots=True)
class Site:
    """Of one engine. ``seat``: its GPUs, and how long it takes to come up.

    ``kv_token_bytes``: KV of one token, over all its GPUs. ``link_bytes_s``: its network bandwidth, over all its GPUs.
    ``pool``: that it is of. ``beside``: by another pool's name, the factor on a step while an engine of that is at work on its GPU.
    """

    seat: Seat = ONE_GPU
    role: Role = Role.BOTH
    tier: str | None = None
    kv_token_bytes: int = 0
    link_bytes_s: float = float("inf")
    pool: str = ""
    beside: Mapping[str, float] = field(default_factory=dict)


HERE = Site()
