"""Our scheduler against vLLM's own, step by step, on random request sequences.

At every step both must schedule the same requests with the same token counts, preempt the same, hold the queues in the same
order, and have the same number of free KV blocks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from policies.types import StepPlan
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


FEATURES = {"plain": plain, "scarce-kv": scarce, "long-prefill-threshold": threshold}


def arrivals(rng: random.Random, longest: int) -> Iterator[tuple[int, int, int]]:
    for id in range(rng.randint(1, 16)):
        prompt = rng.randint(1, longest - 1)
        yield id, prompt, rng.randint(1, longest - prompt)


@pytest.mark.parametrize("always_scan", [False, True], ids=["fast", "scan"])
@pytest.mark.parametrize("feature", FEATURES)
def test_every_step_equals_vllm(feature: str, always_scan: bool, model: Path) -> None:
    rng = random.Random(f"{feature}")
    steps = preemptions = 0
    while steps < STEPS:
        knobs, longest = FEATURES[feature](rng)
        theirs = VLLMSide(model, **vars(knobs))
        limits = EngineLimits(knobs.max_seqs, knobs.budget, knobs.block, knobs.blocks, knobs.threshold)
        ours = Scheduler(limits, always_scan=always_scan)
        plan = StepPlan(knobs.budget)
        coming = list(arrivals(rng, longest))
        total, done = len(coming), 0
        while done < total:
            while coming and rng.random() < 0.4:
                id, prompt, output = coming.pop(0)
                theirs.add(id, [rng.randint(10, 500) for _ in range(prompt)], output)
                ours.add(Request(id, RequestClass(), 0, 0.0, prompt, output))
            expected = theirs.schedule()
            ours.schedule(plan)
            assert {r.id: 1 for r in ours.running if r.seated} | {r.id: n for r, n in ours.chunks} == expected.scheduled
            assert tuple(r.id for r in ours.running) == expected.running
            assert tuple(r.id for r in ours.waiting) == expected.waiting
            assert ours.preempted == len(expected.preempted)
            assert ours.kv.free == expected.free_blocks
            if expected.scheduled:
                finished = theirs.advance()
                ours.advance(1)
                assert sorted(r.id for r in ours.finished) == sorted(finished)
                done += len(finished)
                steps += 1
                preemptions += len(expected.preempted)
    if feature == "scarce-kv":
        assert preemptions > 100
