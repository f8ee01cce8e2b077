"""What a user wants of a model's deployment: a goal, which ranks deployments, and limits, which exclude them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Goal = Literal["min_latency", "min_cost", "min_memory", "min_gpu_time", "min_memory_time"]
GOALS: tuple[Goal, ...] = get_args(Goal)


@dataclass(frozen=True, slots=True)
class Intent:
    """``goal``: what is to be least: latency of a request, $ per token, memory, GPU-seconds per request, or memory × latency
    (MaverIQ's cost). Limits, ``None`` = none: ``latency_s`` of a request alone; ``ttft_s``, ``tpot_s`` at the load asked for;
    ``usd_per_mtok``; ``accuracy`` relative to 16 bits. ``cautious``: limits hold at the bad end of an estimate's interval.

    Source: iServe / MaverIQ, arXiv 2501.13111: min_lat (L), min_mem (M), min_cost (L·M), min_gpu_cost (L·GPUs), filters.
    """

    goal: Goal = "min_latency"
    latency_s: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    usd_per_mtok: float | None = None
    accuracy: float | None = None
    cautious: bool = False

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise ValueError(f"there is no goal {self.goal!r}; there are {', '.join(GOALS)}")
        for name in ("latency_s", "ttft_s", "tpot_s", "usd_per_mtok", "accuracy"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value}; a limit is a positive number")
