"""Random request sequences, and random engines to put them to."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sim.limits import EngineLimits, Speculative
from tests.parity.vllm_side import VERSION

STEPS = int(os.environ.get("TWINSERVE_PARITY_STEPS", "10000"))
"""Random steps per feature, at least."""


def goes_on(steps: int, seen: Mapping[str, int], least: Mapping[str, int]) -> bool:
    """Whether a feature needs more steps: there are too few, or too little of what it is about has happened in them.

    What a sequence of some thousand steps meets is a matter of chance, so the test plays on until it has met enough; five times
    the steps are more than chance explains.
    """
    return steps < STEPS or (steps < 5 * STEPS and any(seen[what] < times for what, times in least.items()))


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
    model_len: int = 4096
    method: str | None = None
    drafts: int = 0
    asynchronous: bool = False
    stages: int = 1
    ignore_eos: bool = True

    def limits(self) -> EngineLimits:
        apart = self.method == "draft_model" and VERSION < (0, 28)  # slots that the configuration sets apart
        return EngineLimits(
            max_num_seqs=self.max_seqs,
            max_num_batched_tokens=max(self.budget, self.max_seqs) + (self.max_seqs if apart else 0),
            block_size=self.block,
            kv_blocks=self.blocks,
            long_prefill_token_threshold=self.threshold,
            enable_chunked_prefill=self.chunked,
            scheduling_policy=self.policy,
            watermark=self.watermark,
            scheduler_reserve_full_isl=self.reserve,
            max_model_len=self.model_len,
            speculative=None if self.method is None else Speculative(self.method, self.drafts),
            async_scheduling=self.asynchronous,
            pipeline_parallel=self.stages,
            ignore_eos=self.ignore_eos,
            vllm_version=VERSION,
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
    budget = max(longest, knobs.max_seqs) + rng.randint(0, 30)
    return replace(knobs, budget=budget, threshold=0, chunked=False, model_len=budget), longest


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
