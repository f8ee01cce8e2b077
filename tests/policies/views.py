"""Views for policy tests: plain slotted objects that satisfy the view protocols, with only what a test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from policies.latency import LatencyModel
from policies.types import SLO, EngineState, Role


@dataclass(slots=True)
class Request:
    id: int = 0
    model: str = "m"
    prompt_tokens: int = 1000
    prefix_blocks: Sequence[int] = ()
    tier: str = "default"
    offline: bool = False
    slo: SLO = field(default_factory=SLO)
    arrival_s: float = 0.0
    expected_output_tokens: float = 256.0
    prefilled_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    first_token_s: float | None = None


@dataclass(slots=True)
class Engine:
    """``running`` and ``waiting`` refuse to be read: policies that need only counts must not touch the sequences."""

    id: str = "e0"
    model: str = "m"
    running_count: int = 0
    waiting_count: int = 0
    pending_prefill_tokens: int = 0
    kv_tokens_capacity: int = 100_000
    max_batched_tokens: int = 8192
    role: Role = Role.BOTH
    state: EngineState = EngineState.ACTIVE
    now_s: float = 0.0
    as_of_s: float = 0.0
    step: int = 0
    step_ends_s: float = 0.0
    kv_tokens_used: int = 0
    block_tokens: int = 16
    max_seqs: int = 256
    latency: LatencyModel | None = None

    @property
    def running(self) -> Any:
        raise AssertionError("a baseline policy read engine.running on its hot path")

    @property
    def waiting(self) -> Any:
        raise AssertionError("a baseline policy read engine.waiting on its hot path")


@dataclass(slots=True)
class Fleet:
    engines: Sequence[Engine] = ()
    now_s: float = 0.0
    held: Sequence[Request] = field(default_factory=tuple)


def fleet(*engines: Engine) -> Fleet:
    return Fleet(engines)


def idle(count: int, model: str = "m") -> Fleet:
    return Fleet([Engine(id=f"e{i}", model=model) for i in range(count)])
