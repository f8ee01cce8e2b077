"""Our scheduler against vLLM's own, step by step, on random request sequences.

At every step both must schedule the same requests with the same token counts, preempt the same, hold the queues in the same
order, and have the same number of free KV blocks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from policies.types import StepPlan
from sim.prefixcache import ContentTrie
from sim.request import Request
from sim.scheduler import EngineLimits, Scheduler
from tests.parity.vllm_side import VLLMSide
from traces.workload import RequestClass

STEPS = 10_000
"""Random steps per feature, at least."""


@dataclass(frozen=True)
class Knobs:
    max_seqs: int
    budget: int
    block: int
    blocks: int
    threshold: int = 0
    prefix_caching: bool = False
    policy: str = "fcfs"
    watermark: float = 0.0
    reserve: bool = True
    chunked: bool = True

    def limits(self) -> EngineLimits:
        return EngineLimits(
            max_num_seqs=self.max_seqs,
            max_num_batched_tokens=self.budget,
            block_size=self.block,
            kv_blocks=self.blocks,
            long_prefill_token_threshold=self.threshold,
            enable_chunked_prefill=self.chunked,
            scheduling_policy=self.policy,
            watermark=self.watermark,
            scheduler_reserve_full_isl=self.reserve,
        )


def plain(rng: random.Random) -> tuple[Knobs, int]:
    """Roomy KV memory: chunked prefill within budget and seats."""
    longest = rng.randint(2, 200)
    block = rng.choice([1, 4, 16])
    return Knobs(rng.randint(1, 8), rng.randint(1, 120), block, 8 * -(-longest // block)), longest


def scarce(rng: random.Random) -> tuple[Knobs, int]:
    """Hardly more KV memory than the longest request needs: preemption by recompute."""
    longest = rng.randint(2, 120)
    block = rng.choice([1, 4, 16])
    return Knobs(rng.randint(1, 8), rng.randint(1, 80), block, -(-longest // block) + rng.randint(0, 12)), longest


def threshold(rng: random.Random) -> tuple[Knobs, int]:
    """``long_prefill_token_threshold``, with and without memory pressure."""
    knobs, longest = rng.choice([plain, scarce])(rng)
    return Knobs(knobs.max_seqs, knobs.budget, knobs.block, knobs.blocks, rng.choice([1, 3, 10, 30])), longest


def prefix(rng: random.Random) -> tuple[Knobs, int]:
    """Prefix caching: prompts that share content, with memory from ample to hardly enough."""
    knobs, longest = rng.choice([plain, scarce, threshold])(rng)
    return replace(knobs, prefix_caching=True), longest


def priority(rng: random.Random) -> tuple[Knobs, int]:
    """The priority policy: who is admitted, and who is preempted though it had its turn in the step."""
    knobs, longest = rng.choice([plain, scarce, scarce, prefix])(rng)
    return replace(knobs, policy="priority"), longest


def watermark(rng: random.Random) -> tuple[Knobs, int]:
    """Blocks kept free at admission, and admission by the first chunk alone."""
    knobs, longest = rng.choice([scarce, scarce, prefix])(rng)
    return replace(knobs, watermark=rng.choice([0.0, 0.05, 0.3]), reserve=rng.random() < 0.5), longest


def unchunked(rng: random.Random) -> tuple[Knobs, int]:
    """Without chunked prefill a prompt waits until the step has room for the whole of it."""
    knobs, longest = rng.choice([plain, scarce, prefix])(rng)
    return replace(knobs, budget=max(longest, knobs.max_seqs) + rng.randint(0, 30), threshold=0, chunked=False), longest


FEATURES = {
    "plain": plain,
    "scarce-kv": scarce,
    "long-prefill-threshold": threshold,
    "prefix-caching": prefix,
    "priority": priority,
    "watermark": watermark,
    "unchunked": unchunked,
    "aborts": prefix,
}


@dataclass(frozen=True)
class Arrival:
    id: int
    prompt: tuple[int, ...]
    output: int
    ids: tuple[int, ...]
    priority: int


def arrivals(rng: random.Random, longest: int, id_tokens: int) -> Iterator[Arrival]:
    """Prompts begin with content that the ids stand for, and go on with tokens of their own."""
    kinds = rng.choice([1, 2, 3])
    most_output = rng.choice([6, longest])
    for id in range(rng.randint(1, 30)):
        prompt = rng.randint(1, longest - 1)
        ids = tuple(rng.randrange(kinds) for _ in range(rng.randint(0, -(-prompt // id_tokens))))
        shared = [1000 * (i + 1) + j for i in ids for j in range(id_tokens)][:prompt]
        own = [2_000_000 + 1000 * id + j for j in range(prompt - len(shared))]
        yield Arrival(id, (*shared, *own), rng.randint(1, min(most_output, longest - prompt)), ids, rng.randint(0, 2))


@pytest.mark.parametrize("always_scan", [False, True], ids=["fast", "scan"])
@pytest.mark.parametrize("feature", FEATURES)
def test_every_step_equals_vllm(feature: str, always_scan: bool, model: Path) -> None:
    rng = random.Random(feature)
    steps = preemptions = hits = aborts = 0
    while steps < STEPS:
        knobs, longest = FEATURES[feature](rng)
        id_tokens = rng.choice([1, 3, 4, 16, 40])
        theirs = VLLMSide(model, **vars(knobs))
        trie = ContentTrie(id_tokens) if knobs.prefix_caching else None
        ours = Scheduler(knobs.limits(), trie=trie, always_scan=always_scan)
        plan = StepPlan(knobs.budget)
        coming = list(arrivals(rng, longest, id_tokens))
        total, done = len(coming), 0
        requests: dict[int, Request] = {}
        while done < total:
            while coming and rng.random() < 0.4:
                new = coming.pop(0)
                arrived = rng.choice([0.0, float(new.id)])
                theirs.add(new.id, new.prompt, new.output, new.priority, arrived)
                klass = RequestClass(priority=new.priority)
                requests[new.id] = Request(new.id, klass, 0, arrived, len(new.prompt), new.output, new.ids)
                ours.add(requests[new.id])
            if feature == "aborts" and rng.random() < 0.1 and (there := [*ours.running, *ours.waiting]):
                gone = rng.choice(there)
                theirs.abort(gone.id)
                ours.abort(gone)
                done += 1
                aborts += 1
            expected = theirs.schedule()
            ours.schedule(plan)
            assert {r.id: 1 for r in ours.running if r.seated} | {r.id: n for r, n in ours.chunks} == expected.scheduled
            assert tuple(r.id for r in ours.running) == expected.running
            assert tuple(r.id for r in ours.waiting) == expected.waiting
            assert ours.preempted == len(expected.preempted)
            assert ours.kv.free == expected.free_blocks
            for id, cached in expected.cached.items():  # what those who were just admitted found
                assert requests[id].prefilled_tokens == cached
                hits += cached > 0
            if ours.prefix is not None:
                assert ours.prefix.blank + ours.prefix.idle == ours.kv.free
            if expected.scheduled:
                finished = theirs.advance()
                ours.advance(1)
                assert sorted(r.id for r in ours.finished) == sorted(finished)
                done += len(finished)
                steps += 1
                preemptions += len(expected.preempted)
    if feature in ("scarce-kv", "priority", "watermark"):
        assert preemptions > 50
    if feature == "prefix-caching":
        assert hits > 200
    if feature == "aborts":
        assert aborts > 100
