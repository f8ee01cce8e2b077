"""The scheduler plug-in against the simulator's scheduler, step by step, under random plans.

Whatever a batcher says (budgets, orders, caps, requests to preempt), vLLM with the plug-in must carry it out as the simulator does.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import init_none_hash

from policies.types import EngineView, StepPlan
from sim.request import Request
from sim.scheduler import EngineLimits, Scheduler
from tests.parity.steered import SteeredSide
from traces.workload import RequestClass

STEPS = 4_000


class Scripted:
    """A batcher that answers with whatever plan is put into it."""

    def __init__(self) -> None:
        self.next = StepPlan(0)

    def plan(self, engine: EngineView) -> StepPlan:
        return self.next


def random_plan(rng: random.Random, budget: int, ids: list[int], says: str) -> StepPlan:
    some = [id for id in ids if rng.random() < 0.4]
    order = rng.sample(ids, len(ids)) if "order" in says and rng.random() < 0.7 else None
    caps = {id: rng.choice([0, 0, 1, 2, 5, 40]) for id in some} if "caps" in says and rng.random() < 0.7 else None
    preempt = rng.sample(ids, min(len(ids), rng.choice([1, 2]))) if "preempt" in says and rng.random() < 0.15 else ()
    return StepPlan(rng.randint(0, budget + 5), order, caps, preempt, valid_steps=1)


@pytest.mark.parametrize(
    ("says", "policy"),
    [
        ("budget", "fcfs"),
        ("order", "fcfs"),
        ("preempt", "fcfs"),
        ("caps", "fcfs"),
        ("order caps preempt", "fcfs"),
        ("budget", "priority"),
        ("preempt", "priority"),
        ("caps", "priority"),
    ],
)
def test_a_plan_is_carried_out_as_in_the_simulator(says: str, policy: str, model: Path) -> None:
    rng = random.Random(f"{says} {policy}")
    init_none_hash(sha256)
    steps = preemptions = 0
    while steps < STEPS:
        longest = rng.randint(2, 120)
        block = rng.choice([1, 4, 16])
        blocks = -(-longest // block) + rng.randint(0, 20)
        seats, budget = rng.randint(1, 8), rng.randint(8, 80)
        batcher = Scripted()
        theirs = SteeredSide(model, batcher, max_seqs=seats, budget=budget, block=block, blocks=blocks, policy=policy)
        ours = Scheduler(EngineLimits(seats, budget, block, blocks, scheduling_policy=policy))
        coming = list(range(rng.randint(1, 20)))
        there: dict[int, Request] = {}
        idle = 0
        while (coming or there) and idle < 200:
            while coming and rng.random() < 0.4:
                id = coming.pop(0)
                prompt = rng.randint(1, longest - 1)
                output = rng.randint(1, min(30, longest - prompt))
                priority = rng.randint(0, 2)
                theirs.add(id, range(1000 * id, 1000 * id + prompt), output, priority, float(id))
                there[id] = Request(id, RequestClass(priority=priority), 0, float(id), prompt, output)
                ours.add(there[id])
            plan = batcher.next = random_plan(rng, budget, list(there), says)
            expected = theirs.schedule()
            ours.schedule(plan)
            assert {r.id: 1 for r in ours.running if r.seated} | {r.id: n for r, n in ours.chunks} == expected.scheduled
            assert tuple(r.id for r in ours.running) == expected.running
            assert tuple(r.id for r in ours.waiting) == expected.waiting
            assert ours.kv.free == expected.free_blocks
            assert ours.pending_prefill_tokens == theirs.view.pending_prefill_tokens
            idle = idle + 1 if not expected.scheduled else 0
            if expected.scheduled:
                assert (ours.prefill_tokens, ours.prefill_attention, len(ours.chunks), ours.decode_seqs, ours.decode_context) == (
                    theirs.view.shape[:5]
                )
                finished = theirs.advance()
                ours.advance(1)
                assert sorted(r.id for r in ours.finished) == sorted(finished)
                assert ours.pending_prefill_tokens == theirs.view.pending_prefill_tokens
                for request in ours.finished:
                    preemptions += there.pop(request.id).preemptions
                steps += 1
    if "preempt" in says:
        assert preemptions > 50
