"""A live request: what policies may see of it, and what the engine that serves it keeps with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from policies.types import SLO
from traces.workload import RequestClass

if TYPE_CHECKING:
    from sim.batch import Flight
    from sim.prefixcache import Holding
    from sim.roles import DecodeEngine, PrefillEngine
    from sim.scheduler import Scheduler


class Request:
    """One request in flight. It is a ``RequestView`` itself; ``true_output_tokens`` is for the world alone.

    A *seated* request decodes one token in every step of its scheduler, so that its progress is a difference of step counts and
    costs nothing per step: it has generated ``scheduler.step_now - base`` tokens and finishes at step ``finish_step``.
    """

    __slots__ = (
        "_computed",
        "_generated",
        "accepted_tokens",
        "arrival_s",
        "attempts",
        "base",
        "blocks",
        "cached_tokens",
        "decoding",
        "drafted_tokens",
        "finish_step",
        "first_scheduled_s",
        "first_token_s",
        "flight",
        "goal",
        "holding",
        "id",
        "klass",
        "klass_code",
        "preemptions",
        "prefix_blocks",
        "prompt_tokens",
        "pulled_by",
        "scheduler",
        "seated",
        "segment_from",
        "source",
        "true_output_tokens",
        "under_way",
    )

    def __init__(
        self,
        id: int,
        klass: RequestClass,
        klass_code: int,
        arrival_s: float,
        prompt_tokens: int,
        output_tokens: int,
        prefix_blocks: Sequence[int] = (),
    ) -> None:
        self.id = id
        self.klass = klass
        self.klass_code = klass_code
        self.arrival_s = arrival_s
        self.prompt_tokens = prompt_tokens
        self.true_output_tokens = output_tokens
        self.prefix_blocks = prefix_blocks
        self.cached_tokens = 0
        self.preemptions = 0
        self.drafted_tokens = self.accepted_tokens = 0
        self.first_scheduled_s: float | None = None
        self.first_token_s: float | None = None
        self.scheduler: Scheduler | None = None
        self.seated = False
        self.decoding = False
        self._computed = 0
        self._generated = 0
        self.under_way = 0
        """Tokens among the computed ones that will be so when the step in progress is over."""
        self.goal = prompt_tokens
        """Tokens to compute before the next one can be sampled: the prompt, and after a preemption what was generated too."""
        self.blocks = 0
        """KV blocks held; kept up to date only while the request is not seated."""
        self.flight: Flight
        """What a ``StepwiseScheduler`` keeps with the request."""
        self.holding: Holding
        """What the request has of the engine's prefix cache; set where there is one."""
        self.base = 0
        self.finish_step = 0
        self.segment_from = 0
        """The step that emitted the first token of the present unbroken run of tokens."""
        self.attempts = 0
        """Times that it was lost with an engine that failed."""
        self.source: PrefillEngine | None = None
        """The prefill engine that holds its KV; ``pulled_by``: the decode engine that has been told to take it."""
        self.pulled_by: DecodeEngine | None = None

    def restart(self) -> None:
        """Nothing of the request is computed any more; what it was given will be computed again along with the prompt."""
        self.goal = self.prompt_tokens + self._generated
        self._computed = self.blocks = self.under_way = 0

    @property
    def model(self) -> str:
        return self.klass.model

    @property
    def tier(self) -> str:
        return self.klass.tier

    @property
    def priority(self) -> int:
        """Of the engine's priority policy; smaller is served first."""
        return self.klass.priority

    def urgency(self) -> tuple[int, float, str]:
        """vLLM's order of requests under its priority policy; request ids compare as text there."""
        return self.klass.priority, self.arrival_s, str(self.id)

    @property
    def offline(self) -> bool:
        return self.klass.offline

    @property
    def slo(self) -> SLO:
        return self.klass.slo

    @property
    def expected_output_tokens(self) -> float:
        return self.klass.expected_output_tokens

    @property
    def kv_engine(self) -> str | None:
        return None if self.source is None else self.source.id

    @property
    def generated_tokens(self) -> int:
        if self.seated:
            assert self.scheduler is not None
            return self.scheduler.step_now() - self.base
        return self._generated

    @property
    def prefilled_tokens(self) -> int:
        if self.seated:
            assert self.scheduler is not None
            return self.prompt_tokens + self.scheduler.step_now() - self.base - 1
        return self._computed - self.under_way
