"""One planned step of ``sim.stepwise``: what it holds, the room it has left, and what is kept with each request between steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from policies.decisions import StepPlan
from sim.limits import EngineLimits
from sim.request import Request


@dataclass(slots=True, eq=False)
class Flight:
    """What the scheduler keeps with a request.

    ``drafts``: draft tokens proposed for its next step. ``placeholders``: tokens that steps under way may give it. ``in_flight``:
    tokens scheduled in such steps; ``stale``: those of them from before a preemption. ``prefilling``: it has not yet been scheduled
    up to its last known token. ``findable``: tokens whose full blocks the prefix cache knows. ``max_tokens``: output tokens that
    the scheduler knows it will not exceed. ``eligible``: the plan that may give it tokens again, where stages take turns.
    ``last_step``: the engine's step that gave it its last token. ``known_s``: when the token of its last planned step is there.
    """

    max_tokens: int
    drafts: int = 0
    placeholders: int = 0
    in_flight: int = 0
    stale: int = 0
    prefilling: bool = True
    findable: int = 0
    eligible: int = 0
    gone: bool = False
    last_step: int = -1
    known_s: float = 0.0


@dataclass(slots=True, eq=False)
class Batch:
    """One planned step: ``tokens`` and ``drafts`` per request, in the order in which they were granted. It may be empty.

    ``sampled``: the requests that get tokens from it. The rest are the components of ``policies.latency.StepShape``.
    """

    tokens: dict[Request, int] = field(default_factory=dict)
    drafts: dict[Request, int] = field(default_factory=dict)
    padded: set[Request] = field(default_factory=set)
    """Requests whose drafts are padding, which is never accepted."""
    sampled: set[Request] = field(default_factory=set)
    prefill_tokens: int = 0
    prefill_attention: float = 0.0
    prefill_seqs: int = 0
    decode_seqs: int = 0
    decode_context: int = 0
    verify_tokens: int = 0


class Room:
    """The tokens that a step has left: of its budget, and of the input, where drafting takes slots too."""

    __slots__ = ("_budget", "_caps", "_input", "_slots")

    def __init__(self, limits: EngineLimits, plan: StepPlan) -> None:
        spec = limits.speculative
        most, slots = limits.max_num_batched_tokens, 0 if spec is None else spec.slots
        if limits.vllm_version < (0, 28):  # set apart for as many requests as there may be
            most, slots = most - slots * limits.max_num_seqs, 0
        self._budget = min(plan.token_budget, most)
        self._input = most
        self._slots = slots
        self._caps = plan.caps

    @property
    def left(self) -> int:
        return min(self._budget, self._input - self._slots)

    @property
    def open(self) -> bool:
        return self.left > 0

    def offer(self, tokens: int, id: int) -> int:
        """How many of ``tokens`` request ``id`` may have."""
        tokens = min(tokens, self.left)
        return tokens if self._caps is None else min(tokens, self._caps.get(id, tokens))

    def take(self, tokens: int) -> None:
        self._budget -= tokens
        self._input -= tokens + self._slots

    def give_back(self, tokens: int) -> None:
        self._budget += tokens
        self._input += tokens + self._slots
