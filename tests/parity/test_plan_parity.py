"""The scheduler plug-in against the simulator's scheduler, step by step, under random plans.

Whatever a batcher says (budgets, orders, caps, requests to preempt or to admit), vLLM with the plug-in must carry it out as the
simulator does, and both must tell it the same of who came to wait and who went.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

import pytest
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import init_none_hash

from policies.decisions import StepPlan
from policies.types import StepView
from sim.batch import Batch
from sim.prefixcache import ContentTrie
from sim.request import Request
from sim.scheduler import EngineLimits, Scheduler
from sim.stepwise import StepwiseScheduler
from tests.parity.sequences import FEATURES, arrivals, goes_on
from tests.parity.steered import SteeredSide
from traces.workload import RequestClass

STEPS = 4_000


class Scripted:
    """A batcher that answers with whatever plan is put into it."""

    def __init__(self) -> None:
        self.next = StepPlan(0)
        self.told: tuple[list[int], list[int]] = [], []

    def plan(self, engine: StepView) -> StepPlan:
        self.told = [r.id for r in engine.arrived], list(engine.departed)
        return self.next


def random_plan(rng: random.Random, budget: int, ids: list[int], says: str) -> StepPlan:
    some = [id for id in ids if rng.random() < 0.4]
    order = rng.sample(ids, len(ids)) if "order" in says and rng.random() < 0.7 else None
    caps = {id: rng.choice([0, 0, 1, 2, 5, 40]) for id in some} if "caps" in says and rng.random() < 0.7 else None
    preempt = rng.sample(ids, min(len(ids), rng.choice([1, 2]))) if "preempt" in says and rng.random() < 0.15 else ()
    admit = None
    if "admit" in says and rng.random() < 0.7:
        admit = [rng.choice([*ids, 999]) for _ in range(rng.choice([0, 0, 1, 3, 30]))] if ids else ()
    return StepPlan(rng.randint(0, budget + 5), order, caps, preempt, valid_steps=1, admit=admit)


@pytest.mark.parametrize(
    ("says", "policy"),
    [
        ("budget", "fcfs"),
        ("order", "fcfs"),
        ("preempt", "fcfs"),
        ("caps", "fcfs"),
        ("admit", "fcfs"),
        ("order caps preempt", "fcfs"),
        ("order caps preempt admit", "fcfs"),
        ("budget", "priority"),
        ("order", "priority"),
        ("preempt", "priority"),
        ("caps", "priority"),
        ("order caps preempt admit", "priority"),
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
        threshold = rng.choice([0, 0, 5])
        knobs = {"max_seqs": seats, "budget": budget, "block": block, "blocks": blocks, "policy": policy, "threshold": threshold}
        theirs = SteeredSide(model, batcher, **knobs)
        ours = Scheduler(EngineLimits(seats, budget, block, blocks, threshold, scheduling_policy=policy))
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
            if there:
                assert ([r.id for r in ours.changes.arrived], list(ours.changes.departed)) == batcher.told
                ours.changes.told()
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


@pytest.mark.parametrize("says", ["admit", "order admit"])
def test_whom_a_plan_lets_in_is_the_same_where_steps_are_planned_ahead(says: str, model: Path) -> None:
    rng = random.Random(f"ahead {says}")
    steps, seen = 0, Counter[str]()
    while goes_on(steps, seen, {"preemptions": 10}):
        knobs, longest = FEATURES[rng.choice(["scarce-kv", "prefix-caching"])](rng)
        knobs = replace(knobs, asynchronous=True, ignore_eos=rng.random() < 0.5)
        id_tokens = rng.choice([1, 4, 16])
        batcher = Scripted()
        theirs = SteeredSide(model, batcher, **vars(knobs))
        ours = StepwiseScheduler(knobs.limits(), trie=ContentTrie(id_tokens) if knobs.prefix_caching else None)
        coming = list(arrivals(rng, longest, id_tokens))
        queue: deque[Batch] = deque()
        left, idle = len(coming), 0
        while left and idle < 200:
            while coming and rng.random() < 0.4:
                new = coming.pop(0)
                theirs.add(new.id, new.prompt, new.output)
                ours.add(Request(new.id, RequestClass(), 0, 0.0, len(new.prompt), new.output, new.ids))
            assert ours.has_work == theirs.has_work
            if len(queue) < 2 and (not queue or rng.random() < 0.8):
                here = [r.id for r in (*ours.running, *ours.waiting)]
                plan = batcher.next = random_plan(rng, knobs.budget - 5, here, says)
                expected = theirs.schedule()
                if here:
                    assert ([r.id for r in ours.changes.arrived], list(ours.changes.departed)) == batcher.told
                    ours.changes.told()
                queue.append(ours.schedule(plan))
                assert {r.id: n for r, n in queue[-1].tokens.items()} == expected.scheduled
                assert tuple(r.id for r in ours.running) == expected.running
                assert tuple(r.id for r in ours.waiting) == expected.waiting
                assert ours.kv.free == expected.free_blocks
                seen["preemptions"] += len(expected.preempted)
                idle = 0 if expected.scheduled else idle + 1
                steps += bool(expected.scheduled)
                if not expected.scheduled:
                    queue.pop()
            elif queue:
                finished = theirs.advance()
                ours.settle(queue.popleft(), lambda request, drafts: 0)
                assert [r.id for r in ours.finished] == finished
                left -= len(finished)
