"""A router's own, approximate memory of which engine holds which prompt prefixes in its KV cache.

No view tells a router what an engine has cached, so it remembers what it sent where: one LRU list of prompt blocks per engine,
and a map from block to engines over all of them. The same idea as the approximate prefix index of llm-d (Gateway API Inference
Extension, ``approximateprefix``) and the approximate tree of SGLang's cache-aware router. It errs in both directions: it does not
see the cache's evictions, and it does not know of blocks that arrived on another way.
"""

from __future__ import annotations

from collections import OrderedDict

from policies.types import EngineView, RequestView


class PrefixIndex:
    """Block → engines, bounded per engine by the tokens that the engine's KV memory can hold.

    Both methods take O(blocks of the prompt); the engines that share a block are the bits of one integer. Views give no block size,
    so a block counts as its share of the prompt: with b blocks, m matching ones are m/b of the prompt's tokens. That is less than
    one block off where the last block is partly filled, and keeps the order of engines.
    """

    __slots__ = ("_bits", "_engines", "_holders", "_recent", "_tokens")

    def __init__(self) -> None:
        self._engines: list[str] = []  # by bit
        self._bits: dict[str, int] = {}
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

    def record(self, request: RequestView, engine: EngineView) -> None:
        """Note that the prompt goes to ``engine``, and forget the engine's least recently used blocks beyond its KV capacity."""
        blocks = request.prefix_blocks
        count = len(blocks)
        if not count:
            return
        name = engine.id
        if name not in self._bits:
            self._bits[name] = 1 << len(self._engines)
            self._engines.append(name)
            self._recent[name] = OrderedDict()
            self._tokens[name] = 0
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
            holders[block] &= ~bit
            if not holders[block]:
                del holders[block]
        self._tokens[name] = total

    def _put(self, found: dict[str, int], engines: int, tokens: int) -> None:
        if tokens:
            while engines:
                lowest = engines & -engines
                found[self._engines[lowest.bit_length() - 1]] = tokens
                engines ^= lowest
