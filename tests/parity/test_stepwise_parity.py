"""Speculative steps, asynchronous scheduling and pipeline stages against vLLM's own schedulers, step by step.

Steps are planned and ended in any order that the number of batches under way allows, vLLM's own among them. At every plan both
sides must schedule the same requests with the same numbers of tokens and of draft tokens, preempt the same, hold the queues in the
same order, and have the same number of free KV blocks; at every end the same requests must finish.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

import pytest

from policies.decisions import StepPlan
from sim.batch import Batch
from sim.prefixcache import ContentTrie
from sim.request import Request
from sim.stepwise import StepwiseScheduler
from tests.parity import sequences
from tests.parity.sequences import STEPS, Knobs, arrivals, goes_on
from tests.parity.vllm_side import VERSION, VLLMSide
from traces.workload import RequestClass

MIXES = ("plain", "scarce-kv", "scarce-kv", "prefix-caching", "prefix-caching", "priority", "watermark", "unchunked")
MODES = ("plain", "speculative", "async", "async-speculative", "pipeline", "async-pipeline", "async-pipeline-speculative")


def knobs_of(mode: str, rng: random.Random) -> tuple[Knobs, int]:
    """Any of the plain features, in a mode of stepping."""
    feature = rng.choice(MIXES if mode != "plain" else tuple(sequences.FEATURES))
    knobs, longest = sequences.FEATURES[feature](rng)
    knobs = replace(knobs, ignore_eos=rng.random() < 0.5)
    if "speculative" in mode:
        methods = ("eagle", "draft_model") if "async" in mode else ("ngram", "eagle", "draft_model")
        knobs = replace(knobs, method=rng.choice(methods), drafts=rng.randint(1, 6))
        spare = -(-(knobs.drafts + 1) // knobs.block)  # the longest request must fit with its drafts and lookahead
        knobs = replace(knobs, blocks=knobs.blocks + 2 * spare, budget=max(knobs.budget, 2))
        if knobs.threshold:  # vLLM stops with an assertion where it cuts a padded step
            knobs = replace(knobs, threshold=max(knobs.threshold, knobs.drafts + 1))
        if knobs.chunked and rng.random() < 0.3:
            knobs = replace(knobs, model_len=max(longest + 1, knobs.threshold))  # drafts are cut at the end of the context window
    elif rng.random() < 0.3:
        knobs = replace(knobs, threshold=rng.choice([1, 3, 10]) if knobs.chunked else 0)
    if "async" in mode:
        knobs = replace(knobs, asynchronous=True)
    if "pipeline" in mode:
        knobs = replace(knobs, stages=rng.choice([2, 2, 3, 4]))
    return knobs, longest


def accepts(id: int, given: int, drafts: int) -> int:
    """How many of ``drafts`` tokens are accepted at an output position: nearly all of some requests', few of others'."""
    rate = (0.3, 0.6, 0.95)[id % 3]
    for at in range(drafts):
        if random.Random(1000 * id + given + at).random() >= rate:
            return at
    return drafts


@pytest.mark.parametrize("mode", MODES)
def test_every_step_equals_vllm(mode: str, model: Path) -> None:
    if "pipeline" in mode and VERSION < (0, 27):
        pytest.skip("vLLM 0.26 resumes a preempted request while tokens of it are under way; not simulated")
    rng = random.Random(mode)
    least = {"preemptions": STEPS // 200, "aborts": STEPS // 200, "hits": STEPS // 200}
    if "speculative" in mode:
        least["drafted"] = STEPS // 10
    if mode not in ("plain", "speculative"):
        least["overlapped"] = STEPS // 10
    steps, seen = 0, Counter[str]()
    while goes_on(steps, seen, least):
        knobs, longest = knobs_of(mode, rng)
        id_tokens = rng.choice([1, 3, 4, 16, 40])
        theirs = VLLMSide(model, **vars(knobs))
        ours = StepwiseScheduler(knobs.limits(), trie=ContentTrie(id_tokens) if knobs.prefix_caching else None)
        plan = StepPlan(knobs.budget)
        coming = list(arrivals(rng, longest, id_tokens))
        total, done = len(coming), 0
        requests: dict[int, Request] = {}
        queue: deque[Batch] = deque()
        aborting = rng.random() < 0.3
        while done < total:
            while coming and rng.random() < 0.4:
                new = coming.pop(0)
                arrived = rng.choice([0.0, float(new.id)])
                theirs.add(new.id, new.prompt, new.output, new.priority, arrived)
                klass = RequestClass(priority=new.priority)
                requests[new.id] = Request(new.id, klass, 0, arrived, len(new.prompt), new.output, new.ids)
                ours.add(requests[new.id])
            if aborting and rng.random() < 0.1 and (there := [*ours.running, *ours.waiting]):
                gone = rng.choice(there)
                theirs.abort(gone.id)
                ours.abort(gone)
                done += 1
                seen["aborts"] += 1
            assert ours.has_work == theirs.has_work
            if len(queue) < knobs.limits().batches and (not queue or rng.random() < 0.8):
                expected = theirs.schedule()
                batch = ours.schedule(plan)
                queue.append(batch)
                assert {r.id: n for r, n in batch.tokens.items()} == expected.scheduled
                assert {r.id: n for r, n in batch.drafts.items()} == expected.drafts
                assert tuple(r.id for r in ours.running) == expected.running
                assert tuple(r.id for r in ours.waiting) == expected.waiting
                assert ours.preempted == len(expected.preempted)
                assert ours.kv.free == expected.free_blocks
                for id, cached in expected.cached.items():
                    assert requests[id]._computed - batch.tokens[requests[id]] == cached
                    seen["hits"] += cached > 0
                if ours.prefix is not None:
                    assert ours.prefix.blank + ours.prefix.idle == ours.kv.free
                if knobs.limits().batches > 1:  # else chunks under way count when they are computed
                    assert ours.pending_prefill_tokens == pending(ours)
                steps += bool(expected.scheduled)
                seen["drafted"] += sum(expected.drafts.values())
                seen["preemptions"] += len(expected.preempted)
                seen["overlapped"] += len(queue) > 1
            elif queue:
                finished = theirs.advance(accepts)
                batch = queue.popleft()
                ours.settle(batch, lambda request, drafts: accepts(request.id, request.generated_tokens, drafts))
                assert [r.id for r in ours.finished] == finished
                assert ours.kv.free == theirs.free_blocks
                assert ours.pending_prefill_tokens == pending(ours)
                done += len(finished)
                if knobs.method and not knobs.asynchronous:
                    most = knobs.drafts
                    drafts = {r.id: rng.randint(0, most) if knobs.method == "ngram" else most for r in batch.tokens}
                    theirs.propose(drafts)
                    for id, number in drafts.items():
                        if requests[id] in ours.running:
                            ours.propose(requests[id], number)
    assert {what: times for what, times in least.items() if seen[what] < times} == {}, f"met too rarely in {steps} steps"


def pending(scheduler: StepwiseScheduler) -> int:
    """Tokens yet to be prefilled, counted one request at a time."""
    known = {r: r.prompt_tokens + r.generated_tokens for r in (*scheduler.waiting, *scheduler.running)}
    running = sum(known[r] - r.prefilled_tokens for r in scheduler.running if r.flight.prefilling)
    return sum(known[r] for r in scheduler.waiting) + running
