"""vLLM V1's scheduler, without time: which requests get how many tokens in the next step.

The rules are those of ``vllm/v1/core/sched/scheduler.py`` (0.32): running requests before waiting ones, each offered the step's
token budget in order; prompts in chunks; a waiting request is admitted only if the whole of what it has to compute fits the free
blocks (``scheduler_reserve_full_isl``); when a running request finds no block, the last running one is preempted, loses its KV,
and goes to the head of the queue; no admission in a step that preempts.

Requests that decode are *seated*: they get one token in every step without being looked at (see ``sim.seats``). Whoever the
budget or a plan leaves out of a step gives up the seat. The outcome is that of the plain scan over all running requests
(``_scan``), which also runs whenever anything is out of the ordinary; ``always_scan`` makes it run always, and a test holds the
two equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop

from policies.decisions import StepPlan
from sim.limits import EngineLimits
from sim.prefixcache import ContentTrie
from sim.request import Request
from sim.seats import Seats

__all__ = ["EngineLimits", "Scheduler"]


class Scheduler(Seats):
    """The requests of one engine and the batch of its next step.

    After ``schedule(plan)``: ``chunks`` is the list of (request, prompt tokens) to prefill, ``decode_seqs`` and
    ``decode_context`` describe the seated requests, and ``advance(k)`` carries the batch out.
    """

    __slots__ = ("_budget", "_plain", "_plan", "always_scan", "chunks", "prefill_attention", "prefill_tokens")

    def __init__(self, limits: EngineLimits, *, trie: ContentTrie | None = None, always_scan: bool = False) -> None:
        """``trie``: names of prompt content; given, prefix caching is on."""
        super().__init__(limits, trie)
        self.always_scan = always_scan
        self.chunks: list[tuple[Request, int]] = []
        self.prefill_tokens = 0
        self.prefill_attention = 0.0
        self._plan: StepPlan | None = None
        self._plain = False
        self._budget = 0

    def add(self, request: Request) -> None:
        """Queue a new request."""
        request.scheduler = self
        self._enter(request)

    def abort(self, request: Request) -> None:
        """Drop a request between two steps, wherever it is."""
        if request in self.running:
            self._leave_seat(request)
            if request.decoding:
                self.sitting_out -= 1
            else:
                self.pending_prefill_tokens -= request.goal - request._computed
            self._free(request, returns=False)
            del self.running[request]
        else:
            self._unqueue(request)
            self.pending_prefill_tokens -= request.goal

    def clear(self) -> list[Request]:
        """The engine has failed: all its requests, in order, with nothing computed but what they were given; memory is empty."""
        here = [*self.running, *self.waiting]
        for request in list(self.waiting):
            self._unqueue(request)
        for request in here:
            self._leave_seat(request)
            request.decoding = False
            request.blocks = request._computed = 0
            request.goal = request.prompt_tokens + request._generated
        self.running = {}
        self.chunks, self.started, self.finished, self._finishes = [], [], [], []
        self.prefill_tokens = self.pending_prefill_tokens = self.sitting_out = self.kv.used = 0
        self.prefill_attention = 0.0
        if self.prefix is not None:
            self.prefix = self.prefix.emptied(self.kv.total)
        return here

    # --- planning a step ----------------------------------------------------------------------------------------------

    def schedule(self, plan: StepPlan) -> bool:
        """Fill the next step. Returns whether there is anything in it."""
        self.preempted = 0
        if self.chunks:
            self.chunks = []
            self.prefill_tokens = 0
            self.prefill_attention = 0.0
        if plan is not self._plan:
            self._plan = plan
            self._budget = min(plan.token_budget, self.limits.max_num_batched_tokens)
            self._plain = not self.always_scan and plan.order is None and plan.caps is None and not plan.preempt
        budget = self._budget
        seats = self.decode_seqs
        if self._plain and not self.sitting_out and seats <= budget:
            kv = self.kv
            need = kv.phases[self.step % kv.block_tokens] if seats else 0
            partial = len(self.running) > seats
            if need <= kv.total - kv.used and not (partial and self._needs_scan(need, budget - seats)):
                kv.used += need
                if need and self.prefix is not None:
                    self.prefix.take(need)
                if partial:  # without a threshold only the last running request can be amid its prefill
                    request = next(reversed(self.running))
                    tokens = min(request.goal - request._computed, budget - seats)
                    self._take_chunk(request, tokens)
                    budget -= tokens
                if self.waiting and budget > seats:
                    self._admit(plan, self._admissible(plan.admit), budget - seats)
                return seats > 0 or bool(self.chunks)
        return self._scan(plan, budget)

    def _needs_scan(self, need: int, budget: int) -> bool:
        """Whether the running request amid its prefill is not simply the last one, or lacks tokens or blocks for its chunk."""
        if self.limits.long_prefill_token_threshold or not budget:
            return True
        request = next(reversed(self.running))
        if request.decoding or len(self.running) > self.decode_seqs + 1:  # a plan with caps or an order left several amid theirs
            return True
        computed = request._computed
        blocks = self.kv.blocks_for(computed + min(request.goal - computed, budget)) - request.blocks
        return need + blocks > self.kv.free

    def _scan(self, plan: StepPlan, budget: int) -> bool:
        """vLLM's loop over the running requests, then over the waiting ones."""
        for id in plan.preempt:
            victim = next((r for r in self.running if r.id == id), None)
            if victim is not None:
                self._preempt(victim)
        candidates = self._reorder(plan)
        caps = plan.caps
        kv = self.kv
        size = kv.block_tokens
        threshold = self._prefill_threshold()
        order = list(self.running)
        granted: dict[Request, int] = {}
        turn = 0
        while turn < len(order) and budget > 0:
            request = order[turn]
            turn += 1
            if request.seated and (caps is None or request.id not in caps):  # it stays seated if its block, if any, is free
                new_block = (request.prompt_tokens + self.step - request.base - 1) % size == 0
                if new_block <= kv.total - kv.used:
                    budget -= 1
                    granted[request] = 1
                    if new_block:
                        kv.used += 1
                        if self.prefix is not None:
                            self.prefix.take(1)
                    continue
            tokens = 1 if request.decoding else request.goal - request._computed
            if 0 < threshold < tokens:
                tokens = threshold
            tokens = min(tokens, budget)
            if caps is not None:
                tokens = min(tokens, caps.get(request.id, tokens))
            if tokens == 0:
                self._leave_seat(request)
                continue
            computed = request.prompt_tokens + self.step - request.base - 1 if request.seated else request._computed
            need = kv.blocks_for(computed + tokens) - kv.blocks_for(computed)
            while need > kv.free:
                place = self._victim(order)
                victim = order.pop(place)
                turn -= place < turn
                taken = self._withdraw(victim, granted)
                budget += taken
                self._preempt(victim, taken)
                if victim is request:
                    break
            if request not in self.running:
                break
            budget -= tokens
            granted[request] = tokens
            if request.decoding:
                self._take_seat(request, self.step)
                kv.used += need
                if need and self.prefix is not None:
                    self.prefix.take(need)
            else:
                self._take_chunk(request, tokens)
        for request in order[turn:]:
            self._leave_seat(request)
        if self.waiting and budget > 0 and not self.preempted:
            self._admit(plan, candidates, budget)
        return self.decode_seqs > 0 or bool(self.chunks)

    def _withdraw(self, request: Request, granted: dict[Request, int]) -> int:
        """Take back what ``request`` was granted in this step; the tokens."""
        tokens = granted.pop(request, 0)
        if tokens and not request.decoding:
            self.chunks.remove((request, tokens))
            self.prefill_tokens -= tokens
            self.prefill_attention -= tokens * (request._computed + 0.5 * tokens)
        return tokens

    def _admit(self, plan: StepPlan, candidates: Iterable[Request], budget: int) -> None:
        """Waiting requests, in order, while there are budget, seats and blocks."""
        running, kv = self.running, self.kv
        max_seqs = self.limits.max_num_seqs
        caps = plan.caps
        limits = self.limits
        threshold = self._prefill_threshold()
        admitted: list[Request] = []
        for request in candidates:
            if budget <= 0 or len(running) >= max_seqs:
                break
            if caps is not None and caps.get(request.id) == 0:
                continue
            tokens = request.goal
            need = kv.blocks_for(tokens)
            spare = limits.watermark_blocks if running else 0
            if self.prefix is not None:
                matched = self.prefix.match(request)
                if matched:
                    found = matched[-1][2]
                    idle = sum(end - first for run, first, end in matched if run.refs == 0)
                    need -= found - idle
                    tokens -= found * kv.block_tokens
            ahead = tokens
            if limits.scheduler_reserve_full_isl and need + spare > kv.total - kv.used:
                break
            if 0 < threshold < tokens:
                tokens = threshold
            if tokens > budget:
                if not limits.enable_chunked_prefill:
                    break
                tokens = budget
            if caps is not None:
                tokens = min(tokens, caps.get(request.id, tokens))
            if not limits.scheduler_reserve_full_isl:
                later = kv.blocks_for(request.goal) - kv.blocks_for(request.goal - ahead + tokens)
                if need - later + spare > kv.total - kv.used:
                    break
            if self.prefix is not None and matched:
                self.prefix.hold(request, matched)
                kv.used += idle
                request.blocks = found
                request._computed = found * kv.block_tokens
                self.pending_prefill_tokens -= request._computed
                if not request.preemptions:
                    request.cached_tokens = request._computed
            self._take_chunk(request, tokens)
            budget -= tokens
            running[request] = None
            admitted.append(request)
        for request in admitted:
            self._unqueue(request)

    def _take_chunk(self, request: Request, tokens: int) -> None:
        """Give ``request`` a prefill chunk, whose blocks are there."""
        kv = self.kv
        computed = request._computed
        need = kv.blocks_for(computed + tokens) - request.blocks
        kv.used += need
        request.blocks += need
        if self.prefix is not None:
            self.prefix.take(need)
            if request.holding.path:
                self.prefix.fill(request, computed + tokens)
        self.chunks.append((request, tokens))
        self.prefill_tokens += tokens
        self.prefill_attention += tokens * (computed + 0.5 * tokens)

    def _preempt(self, request: Request, granted: int = 0) -> None:
        """Recompute later: the request loses its KV and goes to the head of the queue.

        ``granted``: tokens that it had in this very step; their blocks are there, and findable, though nothing was computed.
        """
        self._leave_seat(request)
        if request.decoding:
            self.sitting_out -= 1
            request.decoding = False
            request.blocks = self.kv.blocks_for(request._computed + granted)
        else:
            self.pending_prefill_tokens -= request.goal - request._computed
        request._computed += granted
        self._free(request, returns=True)
        request._computed = 0
        request.goal = request.prompt_tokens + request._generated
        request.preemptions += 1
        self.pending_prefill_tokens += request.goal
        del self.running[request]
        self._queue(request, last=False)
        self.preempted += 1

    # --- carrying a batch out -----------------------------------------------------------------------------------------

    def horizon(self) -> int:
        """For how many steps the batch just scheduled would be scheduled again, unchanged, if nothing arrived."""
        if self.chunks or self.preempted:
            return 1
        steps = self.next_finish() - self.step
        kv = self.kv
        if kv.seated * (steps // kv.block_tokens + 1) > kv.total - kv.used:
            steps = min(steps, 1 + kv.steps_until_full(self.step + 1))
        return steps

    def advance(self, steps: int) -> None:
        """Carry out the scheduled batch ``steps`` times (more than once only within ``horizon``)."""
        kv = self.kv
        if steps > 1:
            demand = kv.demand(self.step + 1, steps - 1)
            kv.used += demand
            if demand and self.prefix is not None:
                self.prefix.take(demand)
        step = self.step = self.step + steps
        self.decode_context += self.decode_seqs * steps
        if self.started:
            self.started = []
        if self.finished:
            self.finished = []
        finishes = self._finishes
        while finishes and finishes[0][0] <= step:
            finish, _, request = heappop(finishes)
            if request.seated and request.finish_step == finish:
                self._vacate(request, step)
                self.finished.append(request)
        for request, tokens in self.chunks:
            self.pending_prefill_tokens -= tokens
            request._computed += tokens
            if request._computed == request.goal:
                request._generated += 1
                if request._generated == 1:
                    self.started.append(request)
                if request._generated == request.true_output_tokens:
                    request.segment_from = step - 1
                    self.finished.append(request)
                else:
                    self._take_seat(request, step - 1)
        if len(self.finished) > 1 and self.prefix is not None:  # the order in which blocks are freed matters
            leaving = set(self.finished)
            self.finished = [request for request in self.running if request in leaving]
        for request in self.finished:
            self._free(request, returns=False)
            del self.running[request]

    def _free(self, request: Request, *, returns: bool) -> None:
        """Give back the blocks of a request that is done or, if it ``returns``, preempted."""
        self.kv.used -= request.blocks if self.prefix is None else self.prefix.release(request, request._computed, returns=returns)
        request.blocks = 0
