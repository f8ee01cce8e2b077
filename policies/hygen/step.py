"""One step of HyGen's, filled in two phases (arXiv 2501.14808, §4.4, Algorithms 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence

from policies.decisions import StepPlan
from policies.hygen.filling import Filling
from policies.hygen.lines import Lines
from policies.hygen.predictor import Predictor
from policies.hygen.seen import Seen
from policies.types import StepView

UNBOUNDED = 1 << 30
_LONGEST_PLAN = 64
_SMALLEST_CHUNK = 16


class Step:
    """One step while it is filled. ``free``: KV tokens that nobody holds; ``caps``, ``admit``, ``preempt``: of the plan to be."""

    def __init__(
        self,
        engine: StepView,
        predictor: Predictor,
        tokens: int,
        headroom: float,
        *,
        keep_state: bool,
        drafts: tuple[int, int] = (0, 0),
        drafting_s: float = 0.0,
    ) -> None:
        """``drafts``: draft tokens that an online and an offline decode bring along; ``drafting_s``: to draft them."""
        self.engine = engine
        self._drafts = drafts
        self._predictor = predictor
        self._headroom = headroom
        self._keep_state = keep_state
        self._block = engine.block_tokens
        self.budget = min(engine.max_batched_tokens, tokens)
        self.filling = Filling(predictor, self.budget, drafting_s)
        self.free = engine.kv_tokens_capacity - engine.kv_tokens_used
        self.seats = engine.max_seqs - engine.running_count
        self.has_online = False
        self.caps: dict[int, int] = {}
        self.admit: list[int] = []
        self.preempt: list[int] = []
        self.offline_served = 0
        self._stands = True

    def copy(self) -> Step:
        """The same step, to be filled otherwise."""
        twin = Step(self.engine, self._predictor, self.budget, self._headroom, keep_state=self._keep_state, drafts=self._drafts)
        twin.filling, twin.caps, twin.admit, twin.preempt = self.filling.copy(), dict(self.caps), [*self.admit], [*self.preempt]
        twin.free, twin.seats, twin.has_online = self.free, self.seats, self.has_online
        return twin

    def take_online(self, running: Sequence[Seen], lines: Lines) -> None:
        """Phase 1: what runs, then what waits. Online requests are bounded by tokens alone."""
        self.has_online = bool(running) or lines.online_count > 0
        prefilling = []
        drafts, _ = self._drafts
        for request in running:
            if request.decodes:
                self.filling.decode(request.prefilled + 1, drafts)
                self.free -= self._grown(request.prefilled, 1 + drafts)
            else:
                prefilling.append((request.prefilled, max(request.left, 1)))
        for computed, left in prefilling:
            chunk = min(left, max(self.filling.left, 0))
            if chunk:
                self.filling.prefill(chunk)
                self.free -= self._grown(computed, chunk)
                self._stands = False
        for id, tokens in lines.online:
            self.admit.append(id)
            if self.filling.left > 0:
                self.filling.prefill(min(tokens, self.filling.left))
                self.free -= self._rounded(tokens)
                self.seats -= 1
                self._stands = False

    def make_room(self, offline: Sequence[Seen]) -> None:
        """Preempt offline requests, the last admitted first, as long as online ones lack memory or seats."""
        for request in reversed(offline):
            if self.free >= 0 and self.seats >= 0:
                break
            self.preempt.append(request.id)
            self.free += self._rounded(request.prefilled)
            self.seats += 1

    def leave_out(self, offline: Sequence[Seen]) -> None:
        self.caps |= {request.id: 0 for request in offline}

    def take_offline(self, running: Sequence[Seen], lines: Lines, room_s: float, tokens: int, quota: int = UNBOUNDED) -> None:
        """Phase 2: decodes, then prefills, then whoever waits, within ``room_s`` seconds and ``tokens``."""
        filling = self.filling
        _, drafts = self._drafts
        set_aside = filling.left - tokens
        filling.left = tokens
        prefilling = []
        for request in running:
            if not request.decodes:
                prefilling.append(request)
                continue
            grown = self._grown(request.prefilled, 1 + drafts)
            filling.decode(request.prefilled + 1, drafts)
            if filling.left < 0 or grown > self.free or (filling.seconds > room_s and self._not_alone):
                filling.undo_decode(request.prefilled + 1, drafts)
                self._sits_out(request)
            else:
                self.free -= grown
                self.offline_served += 1
        for request in prefilling:
            chunk = self._chunk(request.left, room_s)
            grown = self._grown(request.prefilled, chunk)
            self.caps[request.id] = chunk = chunk if grown <= self.free else 0
            if chunk:
                filling.prefill(chunk)
                self.free -= grown
                self.offline_served += 1
                self._stands = False
        self._let_in(lines, room_s, quota)
        filling.left += set_aside

    def _let_in(self, lines: Lines, room_s: float, quota: int) -> None:
        engine, filling = self.engine, self.filling
        seats = self.seats - int(self._headroom * engine.max_seqs) if self.has_online else self.seats
        spare = self.free - int(self._headroom * engine.kv_tokens_capacity) if self.has_online else self.free
        seats = min(seats, quota)
        for id in lines.offline.peek():
            tokens = lines.tokens(id)
            chunk = self._chunk(tokens, room_s)
            if seats <= 0 or self._rounded(tokens) > spare or chunk < min(tokens, _SMALLEST_CHUNK, self.budget):
                break
            self.admit.append(id)
            self.offline_served += 1
            if chunk < tokens:
                self.caps[id] = chunk
            filling.prefill(chunk)
            spare -= self._rounded(tokens)
            seats -= 1
            self._stands = False

    def plan(
        self, running: Sequence[Seen], online: Sequence[Seen], offline: Sequence[Seen], reason: str, room_s: float
    ) -> StepPlan:
        """What has been filled in. It stands for as long as everyone decodes and the growing context stays within the budget;
        one with draft tokens, whose number changes, for a step."""
        valid = 1
        if self._stands and not self.preempt and not any(self._drafts):
            growth_s = self.filling.growth_s
            spare_s = room_s - self.filling.seconds
            valid = _LONGEST_PLAN if growth_s <= 0 or not offline else int(min(max(spare_s / growth_s, 1), _LONGEST_PLAN))
        return StepPlan(
            max(self.budget, 1),
            order=_order(running, online, offline),
            caps=self.caps or None,
            preempt=tuple(self.preempt),
            valid_steps=valid,
            reason=reason,
            admit=tuple(self.admit),
        )

    @property
    def _not_alone(self) -> bool:
        """Something else is in the step: a lone request runs whatever the budget says."""
        return self.filling.decodes + self.filling.prefills > 1

    def _sits_out(self, request: Seen) -> None:
        if self._keep_state:
            self.caps[request.id] = 0
        else:
            self.preempt.append(request.id)
            self._stands = False

    def _chunk(self, tokens: int, room_s: float) -> int:
        chunk = self.filling.chunk_within(room_s, tokens)
        if not chunk and not self.filling.decodes and not self.filling.prefills:
            chunk = min(tokens, _SMALLEST_CHUNK, max(self.filling.left, 0))
        return chunk

    def _rounded(self, tokens: int) -> int:
        """Tokens of whole blocks."""
        return -(-tokens // self._block) * self._block

    def _grown(self, computed: int, tokens: int) -> int:
        size = self._block
        return (-(-(computed + tokens) // size) + -computed // size) * size


def _order(running: Sequence[Seen], online: Sequence[Seen], offline: Sequence[Seen]) -> list[int] | None:
    """Online before offline, each as they were admitted; ``None`` where they stand so already."""
    seen_offline = False
    for request in running:
        if seen_offline and not request.offline:
            return [request.id for request in (*online, *offline)]
        seen_offline = seen_offline or request.offline
    return None
