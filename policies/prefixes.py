"""A router's own, approximate memory of which engine holds which prompt prefixes in its KV cache.

No view tells a router what an engine has cached, so it remembers what it sent where: one LRU list of prompt blocks per engine,
and a map from block to engines over all of them. The same idea as the approximate prefix index of llm-d (Gateway API Inference
Extension, ``approximateprefix``) and the approximate tree of SGLang's cache-aware router. It errs in both directions: it does not
see the cache's evictions, and it does not know of blocks that arrived on another way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from policies.types import EngineView, RequestView, Role


class PrefixIndex:
    """Block → engines, bounded per engine by the tokens that the engine's KV memory can hold.

    Both methods take O(blocks of the prompt); the engines that share a block are the bits of one integer. Views give no block size,
    so a block counts as its share of the prompt: with b blocks, m matching ones are m/b of the prompt's tokens. That is less than
    one block off where the last block is partly filled, and keeps the order of engines.

    Engines that have left are forgotten when a new one of their role is first used, so that no more are kept than ever served at a
    time. One that comes back before that is believed to hold what it held.
    """

    __slots__ = ("_bits", "_holders", "_names", "_recent", "_roles", "_tokens")

    def __init__(self) -> None:
        self._names: list[str] = []  # by bit; "" = the bit is free
        self._bits: dict[str, int] = {}
        self._roles: dict[str, Role] = {}
        self._holders: dict[int, int] = {}
        self._recent: dict[str, OrderedDict[int, int]] = {}  # engine → block → tokens, least recently used first
        self._tokens: dict[str, int] = {}

    def hits(self, request: RequestView) -> dict[str, int]:
        """Engine → prompt tokens from the prompt's start on that it probably need not compute; engines without any are left out.

        The prompt's last token is always computed, as in vLLM (``KVCacheManager.get_computed_blocks``).
        """
        blocks = request.prefix_blocks
        count = len(blocks)
        tokens = request.prompt_tokens
        found: dict[str, int] = {}
        matching = -1  # every engine matches the empty prefix
        for depth, block in enumerate(blocks):
            still = matching & self._holders.get(block, 0)
            if still != matching:
                self._put(found, matching & ~still, depth * tokens // count)
            matching = still
            if not matching:
                return found
        if count:
            self._put(found, matching, tokens - 1)
        return found

    def record(self, request: RequestView, engine: EngineView, engines: Sequence[EngineView]) -> None:
        """Note that the prompt goes to ``engine``, one of the ``engines`` in view, and forget that engine's least recently used
        blocks beyond its KV capacity.
        """
        blocks = request.prefix_blocks
        count = len(blocks)
        if not count:
            return
        name = engine.id
        if name not in self._bits:
            self._forget_all_but({e.id for e in engines}, engine.role)
            self._welcome(engine)
        bit, recent, total = self._bits[name], self._recent[name], self._tokens[name]
        holders = self._holders
        block_tokens = -(-request.prompt_tokens // count)
        # From the last block to the first, as vLLM frees a request's blocks: a chain is forgotten from its tail.
        for block in reversed(blocks):
            if block in recent:
                recent.move_to_end(block)
            else:
                recent[block] = block_tokens
                total += block_tokens
                holders[block] = holders.get(block, 0) | bit
        capacity = engine.kv_tokens_capacity
        while total > capacity:
            block, freed = recent.popitem(last=False)
            total -= freed
            self._drop(block, bit)
        self._tokens[name] = total

    def _welcome(self, engine: EngineView) -> None:
        name = engine.id
        if "" not in self._names:
            self._names.append("")
        place = self._names.index("")
        self._names[place] = name
        self._bits[name] = 1 << place
        self._roles[name] = engine.role
        self._recent[name] = OrderedDict()
        self._tokens[name] = 0

    def _forget_all_but(self, present: set[str], role: Role) -> None:
        """Forget the engines of a role that are not present; those of another role may only be out of this view."""
        for name in [name for name, its in self._roles.items() if its is role and name not in present]:
            bit = self._bits.pop(name)
            for block in self._recent.pop(name):
                self._drop(block, bit)
            self._names[bit.bit_length() - 1] = ""
            del self._roles[name], self._tokens[name]

    def _drop(self, block: int, bit: int) -> None:
        self._holders[block] &= ~bit
        if not self._holders[block]:
            del self._holders[block]

    def _put(self, found: dict[str, int], engines: int, tokens: int) -> None:
        if tokens:
            while engines:
                lowest = engines & -engines
                found[self._names[lowest.bit_length() - 1]] = tokens
                engines ^= lowest
