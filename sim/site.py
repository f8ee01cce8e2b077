"""Where an engine runs: what the fleet has to know of it beside its live state."""

from __future__ import annotations

from dataclasses import dataclass

from policies.types import Role


@dataclass(frozen=True, slots=True)
class Site:
    """Of one engine. ``gpus``: all of them, tensor × pipeline parallel. ``start_up_s``: from nothing to serving.

    ``kv_token_bytes``: KV of one token, over all its GPUs. ``link_bytes_s``: its network bandwidth, over all its GPUs.
    """

    gpu: str = "h200"
    gpus: int = 1
    role: Role = Role.BOTH
    tier: str | None = None
    start_up_s: float = 0.0
    kv_token_bytes: int = 0
    link_bytes_s: float = float("inf")


HERE = Site()
