"""Seats: requests that decode one token in every step, without being looked at.

A request takes a seat when its prefill is done and leaves it when it completes, is preempted, or is left out of a step. While it
sits, its progress is a difference of step counts (``sim.request``), its blocks are a matter of counting (``sim.kvcache``), and its
completion is an entry in a heap.
"""

from __future__ import annotations

from heapq import heappop, heappush

from sim.limits import EngineLimits
from sim.prefixcache import ContentTrie
from sim.queues import Queues
from sim.request import Request

UNBOUNDED = 1 << 62


class Seats(Queues):
    """The seated requests of one engine, and its count of steps."""

    __slots__ = ("_finishes", "broken", "composition", "decode_context", "decode_seqs", "sitting_out", "step")

    def __init__(self, limits: EngineLimits, trie: ContentTrie | None) -> None:
        super().__init__(limits, trie)
        self.step = 0
        """Steps carried out."""
        self.step_now = lambda: self.step
        self.decode_seqs = 0
        self.decode_context = 0
        """KV tokens that the seated requests will read in the next step, their own new token included."""
        self.composition = 0
        """Changes whenever a seat is taken or left."""
        self.sitting_out = 0
        """Running requests in their decode phase that have no seat."""
        self.broken: list[tuple[Request, int, int]] = []
        """Unbroken runs of tokens that ended before their request did: (request, first step, last step)."""
        self._finishes: list[tuple[int, int, Request]] = []

    def _take_seat(self, request: Request, first_emission: int) -> None:
        """``request`` decodes in every step from the next one on. ``first_emission``: the step of the first token of this run."""
        if request.seated:
            return
        if request.decoding:
            self.sitting_out -= 1
        step = self.step
        self.composition += 1
        request.seated = request.decoding = True
        request.base = base = step - request._generated
        request.segment_from = first_emission
        request.finish_step = finish = base + request.true_output_tokens
        heappush(self._finishes, (finish, request.id, request))
        kv = self.kv
        kv.phases[(base + 1 - request.prompt_tokens) % kv.block_tokens] += 1
        kv.seated += 1
        self.decode_seqs += 1
        self.decode_context += request.prompt_tokens + request._generated

    def _leave_seat(self, request: Request) -> None:
        """``request`` sits out from the next step on and keeps its KV. It may hold a seat or not."""
        if not request.seated:
            return
        self._vacate(request, self.step)
        self.sitting_out += 1
        if self.step > request.segment_from:
            self.broken.append((request, request.segment_from, self.step - 1))

    def _vacate(self, request: Request, step: int) -> None:
        self.composition += 1
        generated = step - request.base
        tokens = request.prompt_tokens + generated
        kv = self.kv
        kv.phases[(request.base + 1 - request.prompt_tokens) % kv.block_tokens] -= 1
        kv.seated -= 1
        self.decode_seqs -= 1
        self.decode_context -= tokens
        request.seated = False
        request._generated = generated
        request._computed = tokens - 1
        request.blocks = kv.blocks_for(tokens - 1)

    def next_finish(self) -> int:
        """The step count at which the first seated request completes."""
        finishes = self._finishes
        while finishes:
            step, _, request = finishes[0]
            if request.seated and request.finish_step == step:
                return step
            heappop(finishes)
        return UNBOUNDED
