"""Paged KV memory, counted in blocks.

Every seated request (one that decodes a token in each step) takes a new block once in ``block_tokens`` steps. Which step that is
depends on its length alone, so the allocator counts requests per *phase* and knows the demand of any run of steps without
looking at a request.
"""

from __future__ import annotations


class KVCache:
    """``total`` blocks of ``block_tokens`` tokens each; vLLM's null block, which never holds data, is not counted."""

    __slots__ = ("block_tokens", "phases", "seated", "total", "used")

    def __init__(self, total: int, block_tokens: int) -> None:
        self.total = total
        self.block_tokens = block_tokens
        self.used = 0
        self.seated = 0
        self.phases = [0] * block_tokens
        """Seated requests by the step, modulo the block size, at which they need a new block."""

    @property
    def free(self) -> int:
        return self.total - self.used

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)

    def demand(self, step: int, steps: int) -> int:
        """Blocks that the seated requests take over ``steps`` steps, the first of which has index ``step``."""
        size = self.block_tokens
        rounds, rest = divmod(steps, size)
        blocks = rounds * self.seated
        if rest:
            start = step % size
            stop = start + rest
            blocks += sum(self.phases[start:stop])
            if stop > size:
                blocks += sum(self.phases[: stop - size])
        return blocks

    def steps_until_full(self, step: int) -> int:
        """How many steps from index ``step`` on find all the blocks that they need."""
        seated = self.seated
        free = self.total - self.used
        if seated == 0:
            return 1 << 62
        rounds, left = divmod(free, seated)
        steps = rounds * self.block_tokens
        while (need := self.phases[(step + steps) % self.block_tokens]) <= left:
            left -= need
            steps += 1
        return steps
