"""The block allocator's arithmetic against counting block by block."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.kvcache import KVCache


@given(
    block=st.sampled_from([1, 2, 5, 16]),
    lengths=st.lists(st.integers(1, 60), max_size=8),
    start=st.integers(0, 40),
    steps=st.integers(0, 70),
    spare=st.integers(0, 40),
)
def test_demand_and_steps_until_full(block: int, lengths: list[int], start: int, steps: int, spare: int) -> None:
    cache = KVCache(10_000, block)
    for length in lengths:  # at step `start` the request has `length` tokens in its blocks and computes one more
        cache.phases[(start - length) % block] += 1
        cache.seated += 1

    def blocks(k: int) -> int:
        return sum(cache.blocks_for(length + k) - cache.blocks_for(length) for length in lengths)

    assert cache.demand(start, steps) == blocks(steps)
    cache.used = cache.total - spare
    if lengths:
        last = cache.steps_until_full(start)
        assert blocks(last) <= spare < blocks(last + 1)
