"""Our scheduler against vLLM's own, step by step, on random request sequences.

At every step both must schedule the same requests with the same token counts, preempt the same, hold the queues in the same
order, and have the same number of free KV blocks.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from policies.decisions import StepPlan
from sim.prefixcache import ContentTrie
from sim.request import Request
from sim.scheduler import Scheduler
from tests.parity.sequences import FEATURES, STEPS, arrivals, goes_on
from tests.parity.vllm_side import VLLMSide
from traces.workload import RequestClass

LEAST = {
    "scarce-kv": {"preemptions": STEPS // 200},
    "priority": {"preemptions": STEPS // 200},
    "watermark": {"preemptions": STEPS // 200},
    "prefix-caching": {"hits": STEPS // 50},
    "aborts": {"aborts": STEPS // 100},
}
"""What a feature must have met, how often."""


@pytest.mark.parametrize("always_scan", [False, True], ids=["fast", "scan"])
@pytest.mark.parametrize("feature", FEATURES)
def test_every_step_equals_vllm(feature: str, always_scan: bool, model: Path) -> None:
    rng = random.Random(feature)
    least = LEAST.get(feature, {})
    steps, seen = 0, Counter[str]()
    while goes_on(steps, seen, least):
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
                seen["aborts"] += 1
            expected = theirs.schedule()
            ours.schedule(plan)
            assert {r.id: 1 for r in ours.running if r.seated} | {r.id: n for r, n in ours.chunks} == expected.scheduled
            assert tuple(r.id for r in ours.running) == expected.running
            assert tuple(r.id for r in ours.waiting) == expected.waiting
            assert ours.preempted == len(expected.preempted)
            assert ours.kv.free == expected.free_blocks
            for id, cached in expected.cached.items():  # what those who were just admitted found
                assert requests[id].prefilled_tokens == cached
                seen["hits"] += cached > 0
            if ours.prefix is not None:
                assert ours.prefix.blank + ours.prefix.idle == ours.kv.free
            finished = theirs.advance()
            if expected.scheduled:
                ours.advance(1)
                assert sorted(r.id for r in ours.finished) == sorted(finished)
                done += len(finished)
                steps += 1
                seen["preemptions"] += len(expected.preempted)
    assert {what: times for what, times in least.items() if seen[what] < times} == {}, f"met too rarely in {steps} steps"
