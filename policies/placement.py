"""What a placer is told, and what it answers: which engines there are to be, on which GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from policies.intent import Intent
from policies.types import SLO, Role


@dataclass(frozen=True, slots=True)
class Demand:
    """What a placer is told to serve: one kind of request. Lengths are means, as believed; ``rate_per_s`` is ``None`` for a backlog
    or a closed loop. ``intent``: for its model; ``None`` = nobody has said.
    """

    model: str
    tier: str
    slo: SLO
    rate_per_s: float | None
    prompt_tokens: float
    output_tokens: float
    offline: bool = False
    intent: Intent | None = None


@dataclass(frozen=True, slots=True)
class Instances:
    """``count`` engines alike, each on ``tensor_parallel`` × ``pipeline_parallel`` GPUs. ``knobs``: under vLLM's names."""

    model: str
    gpu: str
    count: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    precision: str = "bf16"
    kv_precision: str = "bf16"
    role: Role = Role.BOTH
    tier: str | None = None
    knobs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which engines there are to be; together they fit the inventory."""

    instances: Sequence[Instances]
    reason: str
