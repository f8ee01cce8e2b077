"""The prefix cache on its own; step by step against vLLM's it is tested in tests/parity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from policies.decisions import StepPlan
from sim.prefixcache import ContentTrie
from sim.request import Request
from sim.scheduler import EngineLimits, Scheduler
from tests.sim.cluster import play
from traces.readers import read
from traces.workload import RequestClass, Workload


def test_equal_names_mean_equal_content_from_the_start_on() -> None:
    trie = ContentTrie(16)
    assert trie.path([5, 6]) == trie.path([5, 6])
    assert trie.path([5, 6])[0] == trie.path([5, 7])[0]
    assert trie.path([5, 6])[1] != trie.path([4, 6])[1]


def serve(scheduler: Scheduler, request: Request) -> int:
    """One request on an idle engine; the prompt tokens that it found."""
    scheduler.add(request)
    plan = StepPlan(scheduler.limits.max_num_batched_tokens)
    while scheduler.schedule(plan):
        scheduler.advance(1)
    return request.cached_tokens


def test_a_prompt_finds_what_an_earlier_one_began_with() -> None:
    scheduler = Scheduler(EngineLimits(block_size=16, kv_blocks=64), trie=ContentTrie(32))
    assert serve(scheduler, Request(0, RequestClass(), 0, 0.0, 100, 4, (1, 2, 3))) == 0
    assert serve(scheduler, Request(1, RequestClass(), 0, 0.0, 100, 4, (1, 2, 9))) == 64
    assert serve(scheduler, Request(2, RequestClass(), 0, 0.0, 100, 4, (7, 2, 3))) == 0
    # the whole of a prompt of two blocks is cached, but its last token must be computed, and with it its block
    assert serve(scheduler, Request(3, RequestClass(), 0, 0.0, 32, 4, (1,))) == 16


def test_the_least_recently_freed_content_goes_first_and_tails_before_heads() -> None:
    scheduler = Scheduler(EngineLimits(block_size=16, kv_blocks=16), trie=ContentTrie(64))
    serve(scheduler, Request(0, RequestClass(), 0, 0.0, 129, 1, (1, 2)))  # 8 full blocks and a ninth
    serve(scheduler, Request(1, RequestClass(), 0, 0.0, 65, 1, (3,)))  # 4 full blocks and a fifth
    assert (scheduler.prefix.blank, scheduler.prefix.idle) == (4, 12)
    # of the 10 blocks that this takes, 4 are blank and 6 are the first request's, from its end on
    serve(scheduler, Request(2, RequestClass(), 0, 0.0, 160, 1))
    assert serve(scheduler, Request(3, RequestClass(), 0, 0.0, 129, 1, (1, 2))) == 2 * 16


@pytest.mark.parametrize(("taken", "first", "last"), [(5, 16, 32), (7, 0, 32), (14, 0, 32), (16, 0, 0)])
def test_what_nobody_can_find_any_more_keeps_its_place_in_the_order(taken: int, first: int, last: int) -> None:
    """Of 16 blocks 4 hold the first request's content, 8 that of two whose content has no name, 2 the last one's; 2 are blank."""
    scheduler = Scheduler(EngineLimits(block_size=16, kv_blocks=16), trie=ContentTrie(16))
    serve(scheduler, Request(0, RequestClass(), 0, 0.0, 65, 1, (1, 2, 3, 4)))
    serve(scheduler, Request(1, RequestClass(), 0, 0.0, 65, 1))
    serve(scheduler, Request(2, RequestClass(), 0, 0.0, 65, 1))
    serve(scheduler, Request(3, RequestClass(), 0, 0.0, 33, 1, (5, 6)))
    assert (scheduler.prefix.blank, scheduler.prefix.idle) == (2, 14)
    serve(scheduler, Request(4, RequestClass(), 0, 0.0, 16 * taken, 1))
    probe = [Request(5, RequestClass(), 0, 0.0, 65, 1, (1, 2, 3, 4)), Request(6, RequestClass(), 0, 0.0, 33, 1, (5, 6))]
    for request in probe:
        scheduler.prefix.enter(request)
    assert [sum(end - at for _, at, end in scheduler.prefix.match(request)) * 16 for request in probe] == [first, last]


def test_hit_rates_of_the_mooncake_trace_by_cache_size(shared_data: Path) -> None:
    """Against the LRU curve of facts.json, over requests served one after another.

    vLLM gives up a request's last blocks before its first, a plain LRU the other way round: what it keeps is rather more useful, so
    that small caches hit a little more.
    """
    facts = json.loads((shared_data / "facts.json").read_text())["mooncake_conversation"]["prefix"]
    trace = read(shared_data / "traces" / "mooncake" / "conversation_trace.first40min.jsonl.gz", "mooncake")
    assert trace.block_tokens == 512
    for capacity, slack in (("1000", 0.015), ("10000", 0.03), ("30000", 0.01), ("100000", 0.001)):
        # with 16-token blocks in place of 512-token ones the hit rate is the same, and prompts stay within a step
        limits = EngineLimits(block_size=16, kv_blocks=int(capacity) + 1, max_num_batched_tokens=1 << 20)
        scheduler = Scheduler(limits, trie=ContentTrie(16))
        found = total = 0
        for row in range(len(trace)):
            ids = tuple(trace.blocks_of(row).tolist())
            found += serve(scheduler, Request(row, RequestClass(), 0, 0.0, 16 * len(ids) + 1, 1, ids)) // 16
            total += len(ids)
        expected = facts["lru_block_hit_frac_by_capacity_blocks"][capacity]
        assert expected - 0.001 <= found / total <= expected + slack, capacity


@pytest.mark.parametrize("caching", [True, False])
def test_a_cached_prefix_saves_its_prefill(caching: bool) -> None:
    """A step takes 10 ms and 0.1 ms per token: the second prompt of 101 tokens computes 5 instead of 101."""
    workload = Workload.make(
        [0.0, 1.0], [101, 101], [1, 1], classes=(RequestClass(model="m"),),
        block_offsets=np.array([0, 6, 12]), block_ids=np.array([1, 2, 3, 4, 5, 6] * 2), block_tokens=16,
    )  # fmt: skip
    outcome = play(workload, step={"overhead_s": 10e-3, "per_token_s": 1e-4}, prefix_caching=caching)
    ttft = outcome.column("first_token_s") - outcome.column("arrival_s")
    assert ttft == pytest.approx([20.1e-3, 10.5e-3 if caching else 20.1e-3])
    assert outcome.column("cached").tolist() == [0, 96 if caching else 0]
