"""The scheduling rules written down a second time, as plainly as can be: every request, every token, every block, every step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PlainRequest:
    id: int
    prompt: int
    output: int
    computed: int = 0
    generated: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt + self.generated


class PlainScheduler:
    """vLLM V1 with chunked prefill, first come first served, without prefix cache and without speculation."""

    def __init__(self, *, max_seqs: int, budget: int, block: int, blocks: int, threshold: int) -> None:
        self.max_seqs, self.budget, self.block, self.blocks, self.threshold = max_seqs, budget, block, blocks, threshold
        self.running: list[PlainRequest] = []
        self.waiting: list[PlainRequest] = []
        self.held: dict[int, int] = {}

    def free(self) -> int:
        return self.blocks - sum(self.held.values())

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.block)

    def schedule(self) -> tuple[dict[int, int], list[int]]:
        """({request: tokens}, preempted requests) of the next step."""
        plan: dict[int, int] = {}
        preempted: list[int] = []
        budget = self.budget
        threshold = self.threshold if len(self.running) + len(self.waiting) > 1 else 0
        turn = 0
        while turn < len(self.running) and budget > 0:
            request = self.running[turn]
            tokens = request.tokens - request.computed
            if 0 < threshold < tokens:
                tokens = threshold
            tokens = min(tokens, budget)
            granted = True
            while self._blocks(request.computed + tokens) - self.held[request.id] > self.free():
                victim = self.running.pop()
                del self.held[victim.id]
                victim.computed = 0
                self.waiting.insert(0, victim)
                preempted.append(victim.id)
                if victim is request:
                    granted = False
                    break
            if not granted:
                break
            self.held[request.id] = max(self.held[request.id], self._blocks(request.computed + tokens))
            plan[request.id] = tokens
            budget -= tokens
            turn += 1
        while self.waiting and budget > 0 and not preempted and len(self.running) < self.max_seqs:
            request = self.waiting[0]
            if self._blocks(request.tokens) > self.free():
                break
            tokens = request.tokens
            if 0 < threshold < tokens:
                tokens = threshold
            tokens = min(tokens, budget)
            self.held[request.id] = self._blocks(tokens)
            plan[request.id] = tokens
            budget -= tokens
            self.running.append(self.waiting.pop(0))
        return plan, preempted

    def advance(self, plan: dict[int, int]) -> list[int]:
        """Carry the step out; returns the requests that completed."""
        finished = []
        for request in list(self.running):
            request.computed += plan.get(request.id, 0)
            if request.id in plan and request.computed == request.tokens:
                request.generated += 1
                if request.generated == request.output:
                    self.running.remove(request)
                    del self.held[request.id]
                    finished.append(request.id)
        return finished
