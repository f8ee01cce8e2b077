"""A live request of the real world: what policies may see of it, and what it went through."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from policies.types import SLO
from traces.workload import RequestClass


class Request:
    """One request, from its arrival to its outcome. It is a ``RequestView`` itself; ``true_output_tokens`` is for the world alone.

    Times are seconds since the run's start: ``arrival_s`` when the workload says that it arrives, ``sent_s`` when it did.
    ``token_s`` holds the time of every token. ``prefilled_tokens``, ``cached_tokens`` and ``preemptions`` are as the engine last
    told. ``outcome`` is one of ``traces.tables.OUTCOMES``, ``None`` while it is under way; ``reason`` says why it was not served.
    """

    __slots__ = (
        "accepted_tokens",
        "answer",
        "arrival_s",
        "attempts",
        "cached_tokens",
        "drafted_tokens",
        "engine",
        "first_scheduled_s",
        "id",
        "klass",
        "klass_code",
        "kv_engine",
        "kv_params",
        "outcome",
        "preemptions",
        "prefilled_tokens",
        "prefix_blocks",
        "prompt_tokens",
        "reason",
        "sent_s",
        "token_s",
        "true_output_tokens",
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
        self.arrival_s = self.sent_s = arrival_s
        self.prompt_tokens = prompt_tokens
        self.true_output_tokens = output_tokens
        self.prefix_blocks = prefix_blocks
        self.engine: str | None = None
        """Id of the engine that has it; the last one, once it is done."""
        self.kv_engine: str | None = None
        """Id of the prefill engine that holds its KV, until a decode engine has taken the request."""
        self.kv_params: Mapping[str, Any] | None = None
        """What the prefill engine's connector wants the decode engine's to be told."""
        self.answer: list[int] = []
        """Ids of the first tokens that it was given, as far as they are known."""
        self.attempts = 0
        """Times that it was lost with an engine that failed."""
        self.first_scheduled_s: float | None = None
        self.token_s = array("d")
        self.prefilled_tokens = 0
        self.cached_tokens = 0
        self.preemptions = 0
        self.drafted_tokens = 0
        self.accepted_tokens = 0
        self.outcome: str | None = None
        self.reason = ""

    def restart(self) -> None:
        """Nothing of the request is computed any more; what it was given will be computed again along with the prompt."""
        self.engine = self.kv_engine = self.kv_params = None
        self.prefilled_tokens = 0

    def emitted(self, tokens: int, at_s: float) -> None:
        """``tokens`` came at ``at_s``."""
        self.token_s.extend((at_s,) * tokens)

    @property
    def generated_tokens(self) -> int:
        return len(self.token_s)

    @property
    def first_token_s(self) -> float | None:
        return self.token_s[0] if self.token_s else None

    @property
    def last_token_s(self) -> float | None:
        """Of the tokens so far."""
        return self.token_s[-1] if self.token_s else None

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

    @property
    def offline(self) -> bool:
        return self.klass.offline

    @property
    def slo(self) -> SLO:
        return self.klass.slo

    @property
    def expected_output_tokens(self) -> float:
        return self.klass.expected_output_tokens
