"""What a policy may see of a world: views. What it may say of them is in ``policies.decisions`` and ``policies.placement``.

Views are read-only Protocols. The simulator's live objects and the adapters around vLLM's are such views themselves, so that
nothing is copied on the hot path. All times are seconds on the world's clock, all sizes are tokens, and no view holds a fact about
the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from policies.intent import Intent
from policies.latency import LatencyModel
from policies.seating import Inventory


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
    def drafted_tokens(self) -> int:
        """Draft tokens verified so far; ``accepted_tokens``: those of them that the model accepted."""

    @property
    def accepted_tokens(self) -> int: ...
    @property
    def prefix_blocks(self) -> Sequence[int]:
        """Content hashes of the prompt's blocks from the start on, as far as the workload tells; equal ids, equal content."""

    @property
    def kv_engine(self) -> str | None:
        """The prefill engine that holds the request's KV: it needs an engine to decode on. ``None``: it needs a prefill."""


class EngineView(Protocol):
    """One engine as observed at ``as_of_s``."""

    @property
    def id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def tier(self) -> str | None:
        """The SLO tier that the engine is set aside for; ``None`` = none."""

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


class StepView(EngineView, Protocol):
    """An engine before a step, as its own batcher sees it: with what has changed in ``waiting`` since the batcher's last plan.

    A batcher that keeps queues of its own first drops ``departed`` from them, then adds ``arrived``; a request can be in both.
    It never has to look through a long ``waiting``.
    """

    @property
    def arrived(self) -> Sequence[RequestView]:
        """Requests that have joined ``waiting`` and are there now, preempted ones included, in the order in which they joined."""

    @property
    def departed(self) -> Sequence[int]:
        """Ids of requests that have left ``waiting``, ascending: admitted, aborted, completed by a step under way, or lost."""


class DraftView(EngineView, Protocol):
    """An engine before a step, as its own speculator sees it."""

    @property
    def draft_s(self) -> float:
        """Believed seconds of one pass of the drafter, which gives every request of the step one more layer of draft tokens."""

    @property
    def token_budget(self) -> int:
        """Tokens in the step at most, by the batcher's plan: what decodes and drafts leave of it goes to prompts."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The requests of one model and tier that have come since the run began: counters, of which two looks give a rate.

    ``prompt_tokens``, ``expected_output_tokens``: their sums. ``slo``: of the latest one.
    """

    model: str
    tier: str
    slo: SLO
    offline: bool
    requests: int
    prompt_tokens: int
    expected_output_tokens: float


class Completed(NamedTuple):
    """A request that has all its tokens: the past by now, so that its length is no secret any more.

    A plain tuple of what is known for good: a world makes one for each request. ``expected_output_tokens``: what was believed of
    ``output_tokens``.
    """

    id: int
    model: str
    tier: str
    offline: bool
    slo: SLO
    arrival_s: float
    first_token_s: float
    completed_s: float
    prompt_tokens: int
    expected_output_tokens: float
    output_tokens: int


class FleetView(Protocol):
    """The fleet as its policies see it.

    A router is asked for an engine twice where prefill and decode are apart: on arrival, and when the prefill is done. ``engines``
    then holds those of the role that the request needs next, so that a router need not know of roles.
    """

    @property
    def now_s(self) -> float: ...
    @property
    def engines(self) -> Sequence[EngineView]:
        """The active engines, in a stable order; in a call of a router, those that can serve the request's next phase."""

    @property
    def held(self) -> Sequence[RequestView]:
        """The requests that the router holds, in the order in which they came to be held."""

    @property
    def completed(self) -> Sequence[Completed]:
        """The requests that have completed since this policy was last asked, in the order in which they did (of very many, the last
        ``policies.completions.KEPT``).
        """

    @property
    def members(self) -> Sequence[EngineView]:
        """Every engine, in whatever state, in a stable order."""

    @property
    def idle(self) -> Sequence[EngineView]:
        """The parked engines, in the order of ``members``: what a scaler can activate."""

    @property
    def inventory(self) -> Inventory: ...
    @property
    def arrivals(self) -> Sequence[Arrivals]:
        """What has come so far, by model and tier, in the order in which they first came."""

    @property
    def intents(self) -> Mapping[str, Intent]:
        """What is wanted now of the deployment of each model that somebody has said it of."""
