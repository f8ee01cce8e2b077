"""The vocabulary shared by policies and worlds: what a policy may see (views) and what it may say (decisions).

Views are read-only Protocols. The simulator's live objects and the adapters around vLLM's are such views themselves, so that
nothing is copied on the hot path. Decisions are frozen data with a ``reason``; each world has one interpreter of them.
All times are seconds on the world's clock, all sizes are tokens, and no view holds a fact about the future.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from policies.latency import LatencyModel


@dataclass(frozen=True, slots=True)
class SLO:
    """A request's latency objective in seconds; ``None`` means that there is none.

    ``ttft_s``: arrival to first token, router queueing included. ``tpot_s``: time per output token after the first.
    ``e2e_s``: arrival to last token.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


class Role(StrEnum):
    """The phases that an engine serves."""

    BOTH = "both"
    PREFILL = "prefill"
    DECODE = "decode"


class EngineState(StrEnum):
    """Where an engine is in its life; only an ``ACTIVE`` engine takes requests."""

    STARTING = "starting"
    ACTIVE = "active"
    DRAINING = "draining"
    PARKED = "parked"
    FAILED = "failed"


# --- views ------------------------------------------------------------------------------------------------------------


class RequestView(Protocol):
    """What a server can know of a request. The true output length is not among it."""

    @property
    def id(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def offline(self) -> bool: ...
    @property
    def slo(self) -> SLO: ...
    @property
    def arrival_s(self) -> float: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def expected_output_tokens(self) -> float:
        """A belief (a prior or a running estimate), never the truth."""

    @property
    def prefilled_tokens(self) -> int:
        """Tokens whose KV is computed, cached ones included; falls back to 0 on preemption by recompute."""

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens found in the prefix cache."""

    @property
    def generated_tokens(self) -> int: ...
    @property
    def first_token_s(self) -> float | None: ...
    @property
    def prefix_blocks(self) -> Sequence[int]:
        """Content hashes of the prompt's blocks from the start on, as far as the workload tells; equal ids, equal content."""


class EngineView(Protocol):
    """One engine as observed at ``as_of_s``."""

    @property
    def id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def state(self) -> EngineState: ...
    @property
    def now_s(self) -> float: ...
    @property
    def as_of_s(self) -> float: ...
    @property
    def step(self) -> int:
        """Steps completed so far."""

    @property
    def step_ends_s(self) -> float:
        """When the step in progress ends, as believed; ``now_s`` when the engine is idle."""

    @property
    def running(self) -> Sequence[RequestView]: ...
    @property
    def waiting(self) -> Sequence[RequestView]: ...
    @property
    def running_count(self) -> int: ...
    @property
    def waiting_count(self) -> int: ...
    @property
    def pending_prefill_tokens(self) -> int:
        """Tokens still to be prefilled, over waiting and running requests."""

    @property
    def kv_tokens_used(self) -> int:
        """Tokens of KV memory in allocated blocks (blocks × block size)."""

    @property
    def kv_tokens_capacity(self) -> int: ...
    @property
    def block_tokens(self) -> int: ...
    @property
    def max_seqs(self) -> int: ...
    @property
    def max_batched_tokens(self) -> int: ...
    @property
    def latency(self) -> LatencyModel:
        """What is *believed* about this engine's step time."""


class FleetView(Protocol):
    """The fleet as a router sees it. ``engines`` holds the active engines, in a stable order."""

    @property
    def now_s(self) -> float: ...
    @property
    def engines(self) -> Sequence[EngineView]: ...
    @property
    def held(self) -> Sequence[RequestView]: ...


# --- decisions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assign:
    """Send the request to ``engine`` (its id).

    ``scores``: what the policy compared, parallel to ``FleetView.engines``; ``inf`` = not considered, empty = there was no choice.
    ``reason`` says what was compared. A tuple in the view's order is what a router has at hand when it has decided; names are put
    to it only where a decision is logged in full.
    """

    engine: str
    reason: str
    scores: tuple[float, ...] = ()

    def named_scores(self, engines: Sequence[EngineView]) -> dict[str, float]:
        """The considered engines' scores by id; ``engines`` are those of the view that was decided on."""
        return {engine.id: score for engine, score in zip(engines, self.scores, strict=False) if score != math.inf}


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the request in the router; it is offered again when a request finishes, an engine changes state, or the view is new."""

    reason: str


@dataclass(frozen=True, slots=True)
class Shed:
    """Refuse the request for good. It counts as a miss in attainment over offered requests."""

    reason: str


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How an engine fills its next step. Mechanism (running before waiting, chunked prefill, blocks, preemption) is the engine's.

    ``token_budget``: tokens in the step at most. ``order``: request ids in the order in which they are offered the budget,
    ``None`` = the engine's own (running by admission, then waiting by arrival). ``caps``: tokens at most per request id; 0 = sits
    out and keeps its KV. ``preempt``: ids to preempt before the step. ``valid_steps``: for how many steps the plan stands while no
    request arrives, finishes or changes phase (1 = ask every step, ``inf`` = steady).
    """

    token_budget: int
    order: Sequence[int] | None = None
    caps: Mapping[int, int] | None = None
    preempt: Sequence[int] = ()
    valid_steps: float = math.inf
    reason: str = ""


Routing = Assign | Hold | Shed
