"""Prefill and decode apart: a scheduler that gives requests away after their first token, and one that takes them on.

The rules are those of vLLM's asynchronous KV connectors (``vllm/v1/core/sched/scheduler.py`` 0.32, ``WAITING_FOR_REMOTE_KVS``).
The prefill engine keeps a request's blocks until they have been read. The decode engine *pulls*: it looks at its queue in order,
takes blocks for all known tokens of the first request while a seat is free, and only then is the KV sent; a request whose blocks
do not fit blocks those behind it. With its KV there, the request takes a seat in the next step, before others that wait. Local
prefix hits are not sent.

One thing differs. vLLM's proxies throw the prefill engine's token away and let the decode engine compute it again; here it is the
user's first token, and the decode engine goes on with the second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.decisions import StepPlan
from sim.limits import EngineLimits
from sim.prefixcache import ContentTrie
from sim.request import Request
from sim.scheduler import Scheduler

if TYPE_CHECKING:
    from sim.prefixcache import Holding


@dataclass(frozen=True, slots=True)
class Lease:
    """KV of a request that has left for another engine: ``tokens`` in ``blocks`` that stay until they have been read."""

    tokens: int
    blocks: int
    holding: Holding | None


class PrefillScheduler(Scheduler):
    """Computes prompts and first tokens. ``advance`` fills ``prefilled``: requests that have left, with a lease on their KV."""

    __slots__ = ("leases", "prefilled")

    def __init__(self, limits: EngineLimits, *, trie: ContentTrie | None = None) -> None:
        super().__init__(limits, trie=trie)
        self.prefilled: list[Request] = []
        self.leases: dict[Request, Lease] = {}

    def advance(self, steps: int) -> None:
        self.prefilled = []
        super().advance(steps)
        for request in self.prefilled:
            del self.running[request]
            holding = None if self.prefix is None else request.holding
            self.leases[request] = Lease(request._computed, request.blocks, holding)
            request.blocks = 0

    def _take_seat(self, request: Request, first_emission: int) -> None:
        """Where others would begin to decode, the request leaves."""
        self.prefilled.append(request)
        self.broken.append((request, first_emission, first_emission))

    def end_lease(self, request: Request) -> None:
        """The KV that ``request`` left behind has been read, or is not wanted any more."""
        lease = self.leases.pop(request)
        present = request.blocks, request._computed, getattr(request, "holding", None)
        request.blocks, request._computed = lease.blocks, lease.tokens
        if lease.holding is not None:
            request.holding = lease.holding
        self._free(request, returns=False)
        request.blocks, request._computed, holding = present
        if holding is not None:
            request.holding = holding

    def clear(self) -> list[Request]:
        self.leases = {}
        self.prefilled = []
        return super().clear()


class DecodeScheduler(Scheduler):
    """Decodes requests whose prefill was done elsewhere; those that it has to preempt it recomputes itself.

    ``incoming`` wait for blocks, ``receiving`` for their KV, ``received`` for a seat. ``pull`` is told of each request that blocks
    were taken for, and how many tokens have to be sent.
    """

    __slots__ = ("incoming", "pull", "received", "receiving")

    def __init__(self, limits: EngineLimits, *, trie: ContentTrie | None = None) -> None:
        super().__init__(limits, trie=trie)
        self.incoming: deque[Request] = deque()
        self.receiving: dict[Request, None] = {}
        self.received: deque[Request] = deque()
        self.pull: Callable[[Request, int], None] = lambda request, _: self.arrived(request)

    @property
    def remote(self) -> tuple[Request, ...]:
        """Requests that have not decoded here yet."""
        return (*self.received, *self.receiving, *self.incoming)

    def expect(self, request: Request) -> None:
        """Queue a request whose KV is on another engine."""
        request.scheduler = self
        request.goal = request.prompt_tokens + request._generated
        request._computed = 0
        self.incoming.append(request)
        self.changes.came(request)

    def arrived(self, request: Request) -> None:
        """All KV of a request is here."""
        del self.receiving[request]
        self.received.append(request)
        request._computed = request.goal - 1
        if self.prefix is not None and request.holding.path:
            self.prefix.fill(request, request._computed)

    def forget(self, request: Request) -> None:
        """Drop a request that has not been ``arrived``: its KV is lost, or goes elsewhere."""
        if request in self.receiving:
            del self.receiving[request]
            self._free(request, returns=False)
        else:
            self.incoming.remove(request)
        self.changes.went(request)

    def schedule(self, plan: StepPlan) -> bool:
        super().schedule(plan)
        if not self.preempted:
            if self.received:
                self._seat(plan)
            if self.incoming and not self.waiting:
                self._reserve()
        return self.decode_seqs > 0 or bool(self.chunks)

    def _admit(self, plan: StepPlan, candidates: Iterable[Request], budget: int) -> None:
        seats = self.decode_seqs
        self._seat(plan)
        if budget > self.decode_seqs - seats:
            super()._admit(plan, candidates, budget - self.decode_seqs + seats)

    def _seat(self, plan: StepPlan) -> None:
        """Seats for those whose KV has come, after the running and before the waiting requests, as in vLLM."""
        budget = self._budget - self.prefill_tokens
        received, caps = self.received, plan.caps
        while received and self.decode_seqs < budget and len(self.running) < self.limits.max_num_seqs:
            if caps is not None and caps.get(received[0].id, 1) == 0:
                break
            request = received.popleft()
            self.changes.went(request)
            self.running[request] = None
            self._take_seat(request, self.step)

    def _reserve(self) -> None:
        """Blocks for all known tokens of the first in the queue, the next one's included, so that nobody waits for another's."""
        kv, prefix, incoming = self.kv, self.prefix, self.incoming
        while incoming and len(self.running) < self.limits.max_num_seqs:
            request = incoming[0]
            found = idle = 0
            matched = []
            if prefix is not None:
                prefix.enter(request)
                matched = prefix.match(request)
                found = matched[-1][2] if matched else 0
                idle = sum(end - first for run, first, end in matched if run.refs == 0)
            need = kv.blocks_for(request.goal) - found
            spare = self.limits.watermark_blocks if self.running else 0
            if need + idle + spare > kv.free:
                return
            if prefix is not None:
                prefix.hold(request, matched)
                prefix.take(need)
            kv.used += need + idle
            request.blocks = found + need
            self.receiving[incoming.popleft()] = None
            self.pull(request, request.goal - 1 - found * kv.block_tokens)

    def clear(self) -> list[Request]:
        here = [*super().clear(), *self.remote]
        for request in self.remote:
            self.changes.went(request)
        self.incoming.clear()
        self.receiving.clear()
        self.received.clear()
        for request in here:
            request.blocks = request._computed = 0
        return here
