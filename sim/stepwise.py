"""vLLM V1's scheduler, counter by counter: for steps that verify draft tokens, and for steps planned before earlier ones end.

The rules of ``sim.scheduler`` and on top of them those of speculative decoding and of ``vllm/v1/core/sched/async_scheduler.py``
(0.32). A request's draft tokens are scheduled along with its next one, as far as budget and context window reach; KV slots are
taken for them and for the drafter's lookahead, and kept when drafts are rejected. Computed tokens count as soon as they are
scheduled and are taken back for rejected drafts when the step ends. Tokens of steps under way are *placeholders*; a request that is
preempted while it has some waits until they have come.

Every request is looked at in every step; steps without drafts and without overlap are ``sim.scheduler``'s, which is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policies.decisions import StepPlan
from sim.batch import Batch, Flight, Room
from sim.limits import UNLIMITED, EngineLimits
from sim.prefixcache import ContentTrie
from sim.queues import Queues
from sim.request import Request

Accept = Callable[[Request, int], int]
"""How many of a request's draft tokens, given their number, are accepted at its next output position."""


class StepwiseScheduler(Queues):
    """The requests of one engine. ``schedule`` plans batch after batch, ``settle`` ends them in the same order."""

    __slots__ = ("_ahead", "_drafted", "_landing", "_passed_over", "_plans", "_unreported")

    def __init__(self, limits: EngineLimits, *, trie: ContentTrie | None = None) -> None:
        """``trie``: names of prompt content; given, prefix caching is on."""
        super().__init__(limits, trie)
        spec = limits.speculative
        self._drafted = 0 if spec is None else spec.num_speculative_tokens
        self._ahead = limits.batches > 1
        """Steps are planned while others are under way: who plans then, counts what these compute as computed."""
        self._landing = 0
        """Else: the change of ``pending_prefill_tokens`` when the step under way is over."""
        self._plans = 0
        self._unreported = False
        self._passed_over: set[Request] = set()
        """Requests at the head of the queue that wait for stale tokens; up to 0.30 no other one gets before them."""

    @property
    def has_work(self) -> bool:
        """Requests there are, or have gone since the last plan (which tells the workers)."""
        return bool(self.running or self.waiting) or self._unreported

    def add(self, request: Request) -> None:
        """Queue a new request."""
        request.flight = Flight(request.true_output_tokens if self.limits.ignore_eos else UNLIMITED)
        request.goal = _known(request)
        self._enter(request)

    def abort(self, request: Request) -> None:
        """Drop a request, wherever it is; what steps under way give it is lost."""
        if request in self.running:
            self.pending_prefill_tokens -= _left(request)
            del self.running[request]
        else:
            self._unqueue(request)
            self.pending_prefill_tokens -= _known(request)
        self._release(request, returns=False)

    def clear(self) -> list[Request]:
        """The engine has failed: all its requests, in order, with nothing computed but what they were given; memory is empty."""
        here = [*self.running, *self.waiting]
        for request in list(self.waiting):
            self._unqueue(request)
        for request in here:
            request.blocks = request._computed = request.under_way = 0
            request.goal = _known(request)
        self.running = {}
        self.started, self.finished = [], []
        self.pending_prefill_tokens = self._landing = self.kv.used = 0
        self._unreported = False
        self._passed_over.clear()
        if self.prefix is not None:
            self.prefix = self.prefix.emptied(self.kv.total)
        return here

    def propose(self, request: Request, drafts: int) -> None:
        """Draft tokens for the next step of a running request."""
        if not request.flight.prefilling:
            request.flight.drafts = drafts

    # --- planning a step ----------------------------------------------------------------------------------------------

    def schedule(self, plan: StepPlan) -> Batch:
        """The next step, as far as it can be known."""
        self._plans += 1
        self.preempted = 0
        for id in plan.preempt:
            victim = next((r for r in self.running if r.id == id), None)
            if victim is not None:
                self._preempt(victim)
        candidates = self._reorder(plan)
        batch = Batch()
        room = Room(self.limits, plan)
        threshold = self._prefill_threshold()
        chunked = self._run(batch, room, threshold)
        if not self.preempted:
            self._admit(candidates, batch, room, threshold, chunked)
        self._commit(batch)
        return batch

    def _run(self, batch: Batch, room: Room, threshold: int) -> bool:
        """The running requests, in order. Returns whether one of them is amid its prefill."""
        chunked = False
        order = list(self.running)
        turn = 0
        while turn < len(order) and room.open:
            request = order[turn]
            turn += 1
            tokens = self._wanted(request)
            if 0 < threshold < tokens:
                tokens = threshold
            tokens = room.offer(min(tokens, self.limits.max_model_len - request._computed - 1), request.id)
            if tokens <= 0:
                continue
            need = self._need(request, tokens)
            while need > self.kv.free:
                place = self._victim(order)
                victim = order.pop(place)
                turn -= place < turn and (victim in batch.tokens or self._steps_back)
                if victim in batch.tokens:
                    room.give_back(batch.tokens.pop(victim))
                    batch.drafts.pop(victim, None)
                self._preempt(victim)
                if victim is request:
                    return chunked
            chunked |= request.flight.prefilling
            self._grant(batch, room, request, tokens, need)
        return chunked

    @property
    def _steps_back(self) -> bool:
        """Whether no one is passed over after a victim that had no turn in this step; vLLM corrected that in 0.28."""
        return self.limits.vllm_version >= (0, 28)

    def _wanted(self, request: Request) -> int:
        """Tokens that would bring a running request up to what is known, under way and drafted; 0 if it has to sit out."""
        flight = request.flight
        if self._plans < flight.eligible:
            return 0
        placeholders, computed = flight.placeholders, request._computed
        if placeholders and computed + 2 - placeholders >= request.prompt_tokens + flight.max_tokens:
            return 0  # its last token is under way
        return _known(request) + flight.drafts + placeholders - computed

    def _grant(self, batch: Batch, room: Room, request: Request, tokens: int, need: int) -> None:
        flight, known = request.flight, _known(request)
        room.take(tokens)
        self._allocate(request, need)
        self._find(request, min(request._computed + tokens, known))
        batch.tokens[request] = tokens
        verified = min(tokens + request._computed - known - flight.placeholders, flight.drafts)
        if verified > 0:
            batch.drafts[request] = verified
        flight.drafts = 0

    def _admit(self, candidates: Iterable[Request], batch: Batch, room: Room, threshold: int, chunked: bool) -> None:
        """Waiting requests, in order, while there are budget, seats and blocks."""
        limits, kv = self.limits, self.kv
        ran = bool(batch.tokens)
        admitted: list[Request] = []
        for request in candidates:
            if not room.open or len(self.running) >= limits.max_num_seqs:
                break
            if request.flight.stale:
                if limits.vllm_version < (0, 31) and candidates is self.waiting:
                    self._passed_over.add(request)
                continue
            known = request.goal = _known(request)
            matched = self.prefix.match(request) if self.prefix is not None else []
            found = matched[-1][2] if matched else 0
            idle = sum(end - first for run, first, end in matched if run.refs == 0)
            computed = found * kv.block_tokens
            tokens = known - computed
            if self._drafted and tokens == 1 and not chunked and (ran or self._pads_alone(computed)):
                fits = computed + self._drafted + 1 + (limits.vllm_version >= (0, 29)) <= limits.max_model_len
                if fits and 1 + self._drafted <= room.left:
                    tokens += self._drafted
                elif fits or limits.vllm_version < (0, 29):
                    break  # rather not at all than without its padding
            if 0 < threshold < tokens:
                tokens = threshold
            if tokens > room.left and not limits.enable_chunked_prefill:
                break
            tokens = room.offer(tokens, request.id)
            if tokens <= 0:
                continue
            spare = limits.watermark_blocks if self.running else 0
            whole = kv.blocks_for(min(known, limits.max_model_len)) - found + idle + spare
            if limits.scheduler_reserve_full_isl and whole > kv.free:
                break
            need = max(self._slots(computed + tokens) - found, 0)
            if need + idle + spare > kv.free:
                break
            admitted.append(request)
            self._passed_over.discard(request)
            self.running[request] = None
            if self.prefix is not None:
                self.prefix.hold(request, matched)
            kv.used += idle
            request.blocks = found
            request._computed = computed
            self.pending_prefill_tokens -= computed
            if not request.preemptions:
                request.cached_tokens = computed
            room.take(tokens)
            self._allocate(request, need)
            self._find(request, min(computed + tokens, known))
            batch.tokens[request] = tokens
            if computed + tokens > known:
                batch.drafts[request] = computed + tokens - known
                batch.padded.add(request)
        for request in admitted:
            self._unqueue(request)

    def _pads_alone(self, computed: int) -> bool:
        """Whether a request with one token left to compute is padded though nobody else runs."""
        return computed > 0 and self.limits.vllm_version >= (0, 30)

    def _commit(self, batch: Batch) -> None:
        """What is scheduled counts as computed; the batch's shape."""
        self._unreported = False
        limits = self.limits
        for request, tokens in batch.tokens.items():
            flight, computed = request.flight, request._computed
            drafts = batch.drafts.get(request, 0)
            batch.verify_tokens += drafts
            if flight.prefilling:
                own = tokens - drafts
                batch.prefill_seqs += 1
                batch.prefill_tokens += own
                batch.prefill_attention += own * (computed + 0.5 * own)
            else:
                batch.decode_seqs += 1
                batch.decode_context += computed + tokens
            before = _left(request)
            request._computed += tokens
            flight.in_flight += tokens
            flight.prefilling = request._computed < _known(request) + flight.placeholders
            if self._ahead:
                self.pending_prefill_tokens += _left(request) - before
            else:
                self._landing += _left(request) - before
                request.under_way = tokens
            if flight.prefilling:
                continue
            batch.sampled.add(request)
            if limits.async_scheduling:
                flight.placeholders += 1 + drafts
                flight.drafts = self._drafted
                flight.eligible = self._plans + limits.pipeline_parallel

    # --- ending a step ------------------------------------------------------------------------------------------------

    def settle(self, batch: Batch, accept: Accept) -> list[tuple[Request, int]]:
        """The oldest batch has ended: who got how many tokens. Sets ``started`` and ``finished``."""
        self.started, self.finished = [], []
        self.pending_prefill_tokens += self._landing
        self._landing = 0
        emitted: list[tuple[Request, int]] = []
        for request, tokens in batch.tokens.items():
            flight = request.flight
            flight.in_flight -= tokens
            request.under_way = 0
            stale = flight.stale > 0
            flight.stale -= tokens if stale else 0
            if flight.gone or request not in batch.sampled:
                continue
            drafts = batch.drafts.get(request, 0)
            accepted = accept(request, drafts) if drafts and request not in batch.padded else 0
            request.drafted_tokens += drafts
            request.accepted_tokens += accepted
            if not stale:
                request._computed -= drafts - accepted
                flight.placeholders = max(flight.placeholders - drafts + accepted, 0)
            emitted.append((request, self._emit(request, 1 + accepted, stale)))
        for request in self.finished:
            if request in self.running:
                del self.running[request]
            else:
                self._unqueue(request)
        return emitted

    def _emit(self, request: Request, tokens: int, stale: bool) -> int:
        """Give a request tokens, up to its last one; how many these are."""
        flight = request.flight
        tokens = min(tokens, request.true_output_tokens - request._generated)
        if not request._generated:
            self.started.append(request)
        request._generated += tokens
        waits = request not in self.running
        if waits:
            self.pending_prefill_tokens += tokens
        if self.limits.async_scheduling:
            if not stale:
                flight.placeholders -= tokens
            if not waits:
                self._find(request, request._computed - flight.placeholders)
        if request._generated == request.true_output_tokens:
            if waits:
                self.pending_prefill_tokens -= _known(request)
            self._release(request, returns=False)
            self.finished.append(request)
        return tokens

    # --- memory -------------------------------------------------------------------------------------------------------

    def _slots(self, tokens: int) -> int:
        """Blocks for ``tokens`` and for what the drafter writes beyond them."""
        spec = self.limits.speculative
        return self.kv.blocks_for(min(tokens + (0 if spec is None else spec.lookahead), self.limits.max_model_len))

    def _need(self, request: Request, tokens: int) -> int:
        return max(self._slots(request._computed + tokens) - request.blocks, 0)

    def _allocate(self, request: Request, blocks: int) -> None:
        self.kv.used += blocks
        request.blocks += blocks
        if self.prefix is not None:
            self.prefix.take(blocks)

    def _find(self, request: Request, tokens: int) -> None:
        """The full blocks among a request's first ``tokens`` can be found from now on."""
        flight = request.flight
        if tokens > flight.findable:
            flight.findable = tokens
            if self.prefix is not None and request.holding.path:
                self.prefix.fill(request, tokens)

    def _preempt(self, request: Request) -> None:
        """Recompute later: the request loses its KV and goes to the head of the queue."""
        flight = request.flight
        self.pending_prefill_tokens += _known(request) - _left(request)
        self._release(request, returns=True)
        request._computed = 0
        request.preemptions += 1
        flight.drafts = flight.placeholders = flight.findable = 0
        flight.stale = flight.in_flight
        flight.prefilling = True
        del self.running[request]
        self._queue(request, last=False, place=len(self._passed_over))
        self.preempted += 1

    def _release(self, request: Request, *, returns: bool) -> None:
        """Take a request's blocks, from one that is ``gone`` or one that ``returns``."""
        if self.prefix is None:
            self.kv.used -= request.blocks
        else:
            self.kv.used -= self.prefix.release(request, request.flight.findable, returns=returns)
        request.blocks = 0
        if not returns:
            request.flight.gone = self._unreported = True
            self._passed_over.discard(request)


def _known(request: Request) -> int:
    """Tokens of a request that are known: its prompt and what it was given."""
    return request.prompt_tokens + request._generated


def _left(request: Request) -> int:
    """Tokens that a running request has yet to compute before its next one."""
    return max(_known(request) - request._computed, 0) if request.flight.prefilling else 0
