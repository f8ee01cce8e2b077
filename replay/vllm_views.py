"""Views over vLLM's live objects: its ``Request`` as a ``RequestView``, its ``Scheduler`` as a ``StepView``; no copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from policies.changes import Changes
from policies.latency import LatencyModel, StepShape
from policies.types import SLO, EngineState, Role
from replay.wire import KEY, Told


class LiveRequest:
    """A ``RequestView`` over a vLLM request. ``told``: what came with it.

    ``decoding``: it is past its prefill, or will be when the steps in flight are over. ``pending``: tokens of it to be prefilled.
    ``waits``: it is in the queue. ``ahead``: steps are planned while others are in flight, so that tokens under way count as
    prefilled: they will be when the step that is planned starts.
    """

    __slots__ = (
        "_request",
        "accepted_tokens",
        "ahead",
        "cached_tokens",
        "decoding",
        "drafted_tokens",
        "first_scheduled_s",
        "first_token_s",
        "pending",
        "told",
        "waits",
    )

    def __init__(self, request: Any, told: Told, *, ahead: bool) -> None:
        self._request = request
        self.told = told
        self.ahead = ahead
        self.decoding = False
        self.waits = False
        self.pending = 0
        self.cached_tokens = 0
        self.drafted_tokens = 0
        self.accepted_tokens = 0
        self.first_scheduled_s: float | None = None
        self.first_token_s = told.first_token_s

    def handed_over(self, role: Role) -> bool:
        """Whether an engine in this role has it from a prefill engine, along with its KV."""
        return role is Role.DECODE and self.told.given_tokens > 0

    @property
    def id(self) -> int:
        return self.told.id

    @property
    def model(self) -> str:
        return self.told.model

    @property
    def tier(self) -> str:
        return self.told.tier

    @property
    def offline(self) -> bool:
        return self.told.offline

    @property
    def slo(self) -> SLO:
        return self.told.slo

    @property
    def arrival_s(self) -> float:
        return self.told.arrival_s

    @property
    def expected_output_tokens(self) -> float:
        return self.told.expected_output_tokens

    @property
    def prefix_blocks(self) -> Sequence[int]:
        return self.told.prefix_blocks

    @property
    def kv_engine(self) -> str | None:
        return None

    @property
    def prompt_tokens(self) -> int:
        return int(self._request.num_prompt_tokens) - self.told.given_tokens

    @property
    def prefilled_tokens(self) -> int:
        """vLLM counts a step's tokens when it schedules them; they are computed when the step is over."""
        under_way = 0 if self.ahead else self._request.num_in_flight_tokens
        return int(self._request.num_computed_tokens - under_way)

    @property
    def generated_tokens(self) -> int:
        return int(self._request.num_output_tokens) + self.told.given_tokens

    @property
    def preemptions(self) -> int:
        return int(self._request.num_preemptions)


def live(request: Any) -> LiveRequest:
    """The view of a vLLM request that ``watch`` has seen."""
    view: LiveRequest = request.twinserve
    return view


def watch(request: Any, told: Told, *, ahead: bool) -> LiveRequest:
    """Attach a view to a vLLM request."""
    request.twinserve = LiveRequest(request, told, ahead=ahead)
    return live(request)


def told_of(request: Any) -> str | None:
    """The JSON text that came with a vLLM request, if it comes from us."""
    params = request.sampling_params
    extra = None if params is None else params.extra_args
    return None if extra is None else extra.get(KEY)


class LiveEngine:
    """A ``StepView`` and ``DraftView`` over a vLLM scheduler as it is now. ``shape``: of the oldest step in flight, if one is."""

    __slots__ = (
        "_now",
        "_scheduler",
        "changes",
        "draft_s",
        "id",
        "latency",
        "max_batched_tokens",
        "model",
        "pending_prefill_tokens",
        "role",
        "shape",
        "started_s",
        "state",
        "step",
        "tier",
        "token_budget",
    )

    def __init__(
        self, scheduler: Any, now: Callable[[], float], *, id: str, model: str, role: Role, tier: str | None, latency: LatencyModel
    ) -> None:
        self._scheduler = scheduler
        self._now = now
        self.id = id
        self.model = model
        self.role = role
        self.tier = tier
        self.state = EngineState.ACTIVE
        self.latency = latency
        self.max_batched_tokens = self.token_budget = int(scheduler.max_num_scheduled_tokens)
        self.draft_s = 0.0
        self.changes: Changes[LiveRequest] = Changes()
        self.pending_prefill_tokens = 0
        self.step = 0
        self.shape: StepShape | None = None
        self.started_s = 0.0

    @property
    def now_s(self) -> float:
        return self._now()

    @property
    def as_of_s(self) -> float:
        return self._now()

    @property
    def step_ends_s(self) -> float:
        """Start of the oldest step in flight plus what is believed of its duration."""
        now = self._now()
        return now if self.shape is None else max(now, self.started_s + self.latency.seconds(self.shape))

    @property
    def running(self) -> Sequence[LiveRequest]:
        return tuple(map(live, self._scheduler.running))

    @property
    def waiting(self) -> Sequence[LiveRequest]:
        return tuple(map(live, self._queued()))

    @property
    def arrived(self) -> Sequence[LiveRequest]:
        return self.changes.arrived

    @property
    def departed(self) -> Sequence[int]:
        return self.changes.departed

    @property
    def running_count(self) -> int:
        return len(self._scheduler.running)

    @property
    def waiting_count(self) -> int:
        return int(self._scheduler.get_request_counts()[1])

    @property
    def kv_tokens_used(self) -> int:
        pool = self._scheduler.kv_cache_manager.block_pool
        return int((pool.num_gpu_blocks - 1 - pool.get_num_free_blocks()) * self._scheduler.block_size)

    @property
    def kv_tokens_capacity(self) -> int:
        """Without vLLM's null block, which never holds data."""
        pool = self._scheduler.kv_cache_manager.block_pool
        return int((pool.num_gpu_blocks - 1) * self._scheduler.block_size)

    @property
    def block_tokens(self) -> int:
        return int(self._scheduler.block_size)

    @property
    def max_seqs(self) -> int:
        return int(self._scheduler.max_num_running_reqs)

    @property
    def size(self) -> dict[str, int]:
        """What a manifest says of an engine."""
        names = ("kv_tokens_capacity", "max_num_seqs", "max_num_batched_tokens")
        return dict(zip(names, (self.kv_tokens_capacity, self.max_seqs, self.max_batched_tokens), strict=True))

    def _queued(self) -> Iterator[Any]:
        """vLLM keeps waiting requests that cannot start at once apart: since 0.31 those that hold KV, before that all of them."""
        scheduler = self._scheduler
        yield from getattr(scheduler, "kv_holding_waiting", ())
        yield from scheduler.waiting
        yield from getattr(scheduler, "skipped_waiting", ())


class Viewed:
    """An engine in this process, whose state and tier are those that its scheduler's view shows to policies."""

    @property
    def view(self) -> LiveEngine:
        raise NotImplementedError

    @property
    def state(self) -> EngineState:
        return self.view.state

    @state.setter
    def state(self, state: EngineState) -> None:
        self.view.state = state

    @property
    def tier(self) -> str | None:
        return self.view.tier

    @tier.setter
    def tier(self, tier: str | None) -> None:
        self.view.tier = tier
