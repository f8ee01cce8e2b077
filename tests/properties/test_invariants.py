"""The invariants of a run, under random workloads, knobs and policies. Numbers as in the README."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import registry
from sim.journal import COMPLETED, UNFINISHED
from sim.scheduler import EngineLimits
from tests.sim.cluster import Outcome, play
from traces.workload import RequestClass, Workload

CLASSES = (RequestClass("chat", "chat", "m"), RequestClass("batch", "batch", "m", offline=True))
LONGEST = 80


@st.composite
def runs(draw: st.DrawFn) -> tuple[Workload, Outcome, EngineLimits]:
    n = draw(st.integers(1, 40))
    gaps = draw(st.lists(st.floats(0, 0.1), min_size=n, max_size=n))
    prompts = draw(st.lists(st.integers(1, LONGEST - 20), min_size=n, max_size=n))
    outputs = draw(st.lists(st.integers(1, 20), min_size=n, max_size=n))
    codes = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    workload = Workload.make(np.cumsum(gaps), prompts, outputs, klass=codes, classes=CLASSES)
    block = draw(st.sampled_from([1, 4, 16]))
    limits = EngineLimits(
        max_num_seqs=draw(st.integers(1, 8)),
        max_num_batched_tokens=draw(st.integers(8, 120)),
        block_size=block,
        kv_blocks=-(-LONGEST // block) + draw(st.integers(0, 10)),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 10])),
    )
    outcome = play(
        workload,
        engines=draw(st.integers(1, 3)),
        limits=limits,
        router=registry.build("router", draw(st.sampled_from(registry.names("router"))), {}, 5),
        batcher=registry.build("batcher", draw(st.sampled_from(registry.names("batcher"))), {}, 5),
        noise=draw(st.sampled_from([0.0, 0.1])),
        leap=draw(st.booleans()),
        observe_s=draw(st.sampled_from([0.0, 0.02])),
        concurrency=draw(st.sampled_from([None, {1: 2}])),
        until_s=draw(st.sampled_from([float("inf"), 0.3])),
    )
    return workload, outcome, limits


@given(runs())
@settings(max_examples=300, deadline=None)
def test_invariants(run: tuple[Workload, Outcome, EngineLimits]) -> None:
    workload, outcome, limits = run
    arrival, scheduled = outcome.column("arrival_s"), outcome.column("first_scheduled_s")
    first, last = outcome.column("first_token_s"), outcome.column("last_token_s")
    codes, generated = outcome.column("outcome"), outcome.column("generated")
    sent = ~np.isnan(arrival)
    done = codes == COMPLETED
    rows = outcome.journal.step_rows()

    # INV-1 conservation: every request that was sent is completed or unfinished; none is lost, none is invented
    assert set(codes[sent].tolist()) <= {COMPLETED, UNFINISHED}
    assert not done[~sent].any()
    assert outcome.fleet.done == done.sum()
    if outcome.end_s != 0.3:
        assert done.all()

    # INV-2 causality: arrival ≤ scheduled < first token ≤ last token
    known = ~np.isnan(first)
    assert (arrival[known] <= scheduled[known]).all()
    assert (scheduled[known] < first[known]).all()
    assert (first[done] <= last[done]).all()

    # INV-3 KV memory is never over capacity, and all of it is returned
    assert (rows["kv_blocks"] <= limits.kv_blocks).all()
    for engine in outcome.engines:
        kv = engine.scheduler.kv
        held = sum(kv.blocks_for(r.prefilled_tokens) for r in engine.scheduler.running)
        assert held <= kv.used <= limits.kv_blocks
        if done.all():
            assert kv.used == kv.seated == 0

    # INV-4 monotone time: an engine's batches neither overlap nor run backwards, and its steps are numbered without gaps
    for index in range(len(outcome.engines)):
        mine = rows[rows["engine"] == index]
        assert (mine["end_s"] > mine["start_s"]).all()
        assert (mine["start_s"][1:] >= mine["end_s"][:-1]).all()
        assert (mine["step"][1:] == mine["step"][:-1] + mine["steps"][:-1]).all()

    # INV-5 no request runs twice, and none gets more or fewer tokens than it asked for
    assert (generated[done] == workload.output_tokens[done]).all()
    assert (generated <= workload.output_tokens).all()
    if done.all() and not outcome.column("preemptions").any():
        assert rows["prefill_tokens"].sum() == workload.prompt_tokens.sum()
        assert (rows["decode_seqs"] * rows["steps"]).sum() == (workload.output_tokens - 1).sum()

    # INV-6 an engine that has served all its requests holds nothing
    for engine in outcome.engines:
        if not engine.scheduler.running and not engine.scheduler.waiting:
            assert engine.scheduler.kv.used == engine.pending_prefill_tokens == engine.scheduler.decode_context == 0

    # and the knobs are kept
    assert (rows["running"] <= limits.max_num_seqs).all()
    assert (rows["prefill_tokens"] + rows["decode_seqs"] <= limits.max_num_batched_tokens).all()


@pytest.mark.parametrize("router", registry.names("router"))
def test_every_router_serves_everything(router: str) -> None:
    rng = np.random.default_rng(0)
    n = 400
    workload = Workload.make(
        np.cumsum(rng.exponential(0.01, n)), rng.integers(1, 60, n), rng.integers(1, 20, n), classes=(RequestClass(model="m"),)
    )
    outcome = play(workload, engines=4, router=registry.build("router", router, {}, 1))
    assert (outcome.column("outcome") == COMPLETED).all()
    used = set(outcome.column("engine").tolist())
    assert used == ({0} if router.startswith("polyserve") else {0, 1, 2, 3})  # which fills an engine before it takes the next
