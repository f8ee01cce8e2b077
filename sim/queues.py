"""What every scheduler keeps: the requests that wait and that run, in vLLM's order, and what the last step did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from policies.changes import Changes
from policies.decisions import StepPlan
from sim.kvcache import KVCache
from sim.limits import EngineLimits
from sim.prefixcache import ContentTrie, PrefixCache
from sim.request import Request
from sim.waiting import FirstCome, MostUrgent, Waiting


class Queues:
    """The requests of one engine. ``running`` is in order of admission."""

    __slots__ = (
        "changes",
        "finished",
        "kv",
        "limits",
        "pending_prefill_tokens",
        "preempted",
        "prefix",
        "running",
        "started",
        "step_now",
        "waiting",
        "waiting_by_id",
    )

    def __init__(self, limits: EngineLimits, trie: ContentTrie | None) -> None:
        """``trie``: names of prompt content; given, prefix caching is on."""
        spec = limits.speculative
        redone = int(spec is not None and spec.reads_hidden_states)
        self.limits = limits
        self.kv = KVCache(limits.kv_blocks, limits.block_size)
        self.prefix = None if trie is None else PrefixCache(limits.kv_blocks, limits.block_size, trie, redone=redone)
        self.waiting: Waiting = MostUrgent() if limits.scheduling_policy == "priority" else FirstCome()
        self.waiting_by_id: dict[int, Request] = {}
        self.changes: Changes[Request] = Changes()
        self.running: dict[Request, None] = {}
        self.pending_prefill_tokens = 0
        self.preempted = 0
        """Requests preempted by the last ``schedule``."""
        self.step_now: Callable[[], int] = lambda: 0
        """Steps carried out at the present moment; the engine, which knows the time, sets it."""
        self.started: list[Request] = []
        """Requests that the step which ended last gave their first token."""
        self.finished: list[Request] = []
        """Requests that the step which ended last completed."""

    @property
    def remote(self) -> Sequence[Request]:
        """Requests that have not decoded here yet, though their prefill is done (``sim.handover``)."""
        return ()

    def _enter(self, request: Request) -> None:
        """Queue a new request."""
        if self.prefix is not None:
            self.prefix.enter(request)
        self._queue(request, last=True)
        self.pending_prefill_tokens += request.goal

    def _queue(self, request: Request, *, last: bool, place: int = 0) -> None:
        """To the queue's end, or back to its head behind ``place`` others; under the priority policy to its place."""
        if last:
            self.waiting.add(request)
        else:
            self.waiting.put_back(request, place)
        self.waiting_by_id[request.id] = request
        self.changes.came(request)

    def _unqueue(self, request: Request) -> None:
        """Out of the queue, from wherever it stands."""
        self.waiting.take(request)
        del self.waiting_by_id[request.id]
        self.changes.went(request)

    def _admissible(self, admit: Sequence[int] | None) -> Iterable[Request]:
        """The waiting requests that a plan lets in, in its order, each once."""
        if admit is None:
            return self.waiting
        waiting = self.waiting_by_id
        return (waiting[id] for id in dict.fromkeys(admit) if id in waiting)

    def _victim(self, order: Sequence[Request]) -> int:
        """Who is preempted: the last to be admitted, or under the priority policy the least urgent."""
        if self.limits.scheduling_policy == "fcfs":
            return len(order) - 1
        return max(range(len(order)), key=lambda place: (order[place].priority, order[place].arrival_s))

    def _prefill_threshold(self) -> int:
        """``long_prefill_token_threshold`` spares others; a lone request may use the whole budget (from vLLM 0.31 on)."""
        threshold = self.limits.long_prefill_token_threshold
        if threshold and len(self.running) + len(self.waiting) <= 1 and self.limits.vllm_version >= (0, 31):
            return 0
        return threshold

    def _reorder(self, plan: StepPlan) -> Iterable[Request]:
        """Put the requests in the plan's order; returns the waiting ones that may be admitted, in theirs."""
        if (order := plan.order) is not None:
            rank = {id: place for place, id in enumerate(order)}
            last = len(rank)
            self.running = dict.fromkeys(sorted(self.running, key=lambda r: rank.get(r.id, last)))
            if plan.admit is None:
                line = sorted(self.waiting, key=lambda r: rank.get(r.id, last))
                if isinstance(self.waiting, MostUrgent):
                    return line
                self.waiting.sort(line)
        return self._admissible(plan.admit)
