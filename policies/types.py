"""The vocabulary shared by policies and worlds: what a policy may see (views) and what it may say (decisions).

Views are read-only Protocols. The simulator's live objects and the adapters around vLLM's are such views themselves, so that
nothing is copied on the hot path. Decisions are frozen data with a ``reason``; each world has one interpreter of them.
All times are seconds on the world's clock, all sizes are tokens, and no view holds a fact about the future.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from policies.intent import Intent
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
class Seat:
    """The GPUs that an engine has when it is up, and how its model is put on them.

    ``memory_bytes``: that it takes on all of them. ``start_up_s``: from being activated to serving, as believed.
    ``usd_per_gpu_hour``: price of one.
    """

    gpu: str = "h200"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    precision: str = "bf16"
    kv_precision: str = "bf16"
    memory_bytes: float = 0.0
    start_up_s: float = 0.0
    usd_per_gpu_hour: float = 0.0

    @property
    def gpus(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel


@dataclass(frozen=True, slots=True)
class Inventory:
    """GPUs by type: all there are, and those that no starting, active, draining or failed engine occupies.

    ``seats``: of every engine, by its id; parked ones are candidates, which together may need more GPUs than there are.
    """

    total: Mapping[str, int] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    seats: Mapping[str, Seat] = field(default_factory=dict)


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
    def completed(self) -> Sequence[RequestView]:
        """The requests that have completed since this policy was last asked, in the order in which they did (of very many, the last
        ``policies.completions.KEPT``). Their ``generated_tokens`` are the lengths that they have come to: the past by now. Their
        KV is free: ``prefilled_tokens`` is 0.
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
    """Keep the request in the router; it is offered again when a request finishes, an engine changes state, or the view is new.

    ``queue``: of the requests held under one name, only the first is offered again, and the next one once that has left; so a
    router whose queues are first come, first served is not asked about thousands of requests at every turn. "" = no queue.
    """

    reason: str
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Shed:
    """Refuse the request for good. It counts as a miss in attainment over offered requests."""

    reason: str


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How an engine fills its next step. Mechanism (running before waiting, chunked prefill, blocks, preemption) is the engine's.

    ``token_budget``: tokens in the step at most. ``order``: request ids in the order in which they are offered the budget,
    ``None`` = the engine's own (running by admission, then waiting by arrival). ``caps``: tokens at most per request id; 0 = sits
    out and keeps its KV. ``preempt``: ids to preempt before the step. ``admit``: ids of the waiting requests that may be admitted,
    looked at in this order as if no other one waited; ``None`` = all, in the queue's order, ``()`` = no one. Beside it ``order``
    sorts the running requests alone. Requests whose KV another engine has sent are not for ``admit`` to keep out.
    ``valid_steps``: for how many steps the plan stands while no request arrives, finishes or changes phase (1 = ask every step,
    ``inf`` = steady).
    """

    token_budget: int
    order: Sequence[int] | None = None
    caps: Mapping[int, int] | None = None
    preempt: Sequence[int] = ()
    valid_steps: float = math.inf
    reason: str = ""
    admit: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class DraftShape:
    """How far the drafter looks ahead in the next step, for each decoding request.

    ``tokens``: length of every chain, or layers of every tree; ``None`` = the engine's own ``num_speculative_tokens``, and what is
    above that is cut. ``per_request``: other lengths by request id; 0 = the request is not drafted for. ``width``: draft
    tokens in each layer of a tree, cut to what the engine can verify, which is chains on vLLM; 1 = chains.
    """

    tokens: int | None = None
    per_request: Mapping[int, int] | None = None
    reason: str = ""
    width: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """A request's candidate draft tokens. ``parents``: of each node, its parent's number, which is below its own, or −1 for the
    request's last token. ``given``: the probability, as the drafter believes, that the node is accepted, given that its parent is.
    """

    parents: Sequence[int]
    given: Sequence[float]


@dataclass(frozen=True, slots=True)
class Drafts:
    """What the drafter proposes: ``chains[id][i]`` is the probability, as the drafter believes, that the i-th draft token of
    request ``id`` is accepted, given that those before it are. ``trees``: by request id, in place of chains.
    """

    chains: Mapping[int, Sequence[float]]
    trees: Mapping[int, Tree] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which draft tokens are verified: of each chain so many from its start on, of each tree its ``nodes``.

    ``tokens``: by request id; whoever is not named is verified in full, ``None`` = all are. ``nodes``: the same for trees, by the
    nodes' numbers, parents before children. The engine verifies fewer, from the start on, where the step's token budget or the
    context window ends.
    """

    tokens: Mapping[int, int] | None = None
    reason: str = ""
    nodes: Mapping[int, Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class Activate:
    """Bring a parked engine up for a ``tier``: it starts, and is active once its model is loaded; a draining one is so at once."""

    engine: str
    reason: str
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """Give a starting or active engine no more requests; it is parked when it has finished those that it has."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """Set a starting or active engine aside for another ``tier``, at once; the requests that it has stay. ``None`` = for none."""

    engine: str
    reason: str
    tier: str | None


Change = Activate | Drain | Move


@dataclass(frozen=True, slots=True)
class Scale:
    """Changes to the fleet, carried out in order, and when the scaler wants to be asked again.

    ``next_at_s``: a time after now, ``inf`` = not by time. ``on_hold``: also as soon as the router holds a request.
    """

    changes: Sequence[Change] = ()
    next_at_s: float = math.inf
    on_hold: bool = False
    reason: str = ""


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


Routing = Assign | Hold | Shed
