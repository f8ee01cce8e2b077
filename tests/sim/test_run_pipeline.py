"""Whole runs of engines in pipeline stages, from scenarios: latency, throughput, memory and GPUs against engines without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policies.latency import FingerprintLatency, StepShape
from sim.run import simulate
from traces.assembly.pipeline import HOP_S
from traces.fingerprints import load_fingerprint
from traces.metrics import summarise
from traces.record import Record
from traces.scenario import Scenario


def run(stages: int, requests: int = 1, tensor_parallel: int = 4, **engine: Any) -> Record:
    """One engine of Llama-3.1 70B on H200, that serves so many requests at a time."""
    gpus = tensor_parallel * stages
    entry = {"name": "chat", "trace": {"prompt_tokens": 500, "output_tokens": 200}, "requests": 4 * requests}
    return simulate(
        Scenario.model_validate(
            {
                "model": "llama-3.1-70b",
                "fleet": {"gpu": "h200", "gpus": gpus, "tensor_parallel": tensor_parallel, "pipeline_parallel": stages},
                "engine": {"async_scheduling": True, **engine},
                "workload": [{**entry, "load": {"concurrency": requests}}],
                "sim": {"noise": 0},
            }
        )
    )


def tpot_s(record: Record) -> float:
    return float(np.median(record.requests["tpot_s"].to_numpy()))


@pytest.mark.parametrize("stages", [2, 4])
def test_a_lone_request_decodes_as_without_stages_but_for_the_hops(stages: int) -> None:
    assert tpot_s(run(stages)) - tpot_s(run(1)) == pytest.approx((stages - 1) * HOP_S, rel=0.02)


def test_a_full_pipeline_ends_batches_as_often_as_its_slowest_stage_allows() -> None:
    # 160 requests in steps of at most 512 tokens: one prompt each, so that batches of requests form that take turns.
    record = run(4, 160, max_num_batched_tokens=512, max_num_seqs=160)
    steps = record.steps
    start, seconds = steps["start_s"].to_numpy(), steps["duration_s"].to_numpy()
    seqs, context = steps["decode_tokens"].to_numpy(), steps["decode_context"].to_numpy()
    amid = (steps["prefill_tokens"].to_numpy() == 0) & (steps["running"].to_numpy() == 160)
    amid[1:] &= amid[:-1]
    between = np.diff(start + seconds, prepend=0.0)
    assert amid.sum() > 100
    assert seqs[amid].mean() == pytest.approx(40, rel=0.1)
    # A batch's pass, as the fingerprint has it for four such batches; the last stage has a quarter of the layers, and the head.
    fingerprint = load_fingerprint("llama-3.1-70b", "h200", 4, pipeline_parallel=4)
    four = zip((4 * seqs[amid]).tolist(), (4 * context[amid]).tolist(), strict=True)
    pass_s = np.array([FingerprintLatency(fingerprint).seconds(StepShape(decode_seqs=n, decode_context=kv)) for n, kv in four])
    head_s = fingerprint.terms.sampled.many(seqs[amid].astype(float))
    assert np.median(between[amid] / ((pass_s - head_s) / 4 + head_s)) == pytest.approx(1, rel=1e-3)


def test_every_stage_keeps_the_kv_of_its_own_layers_and_costs_its_gpus() -> None:
    one, two = run(1), run(2)
    capacity = [record.manifest["engines"]["e0"]["kv_tokens_capacity"] for record in (one, two)]
    assert 2 < capacity[1] / capacity[0] < 3  # half the KV per token, and the room of half the weights
    assert two.fleet["gpus"].to_pylist()[0] == 8
    assert two.manifest["fingerprint"]["name"] == "llama-3.1-70b/h200/tp4pp2/bf16"


def test_an_engine_whose_batches_overlap_is_busy_no_more_than_all_the_time() -> None:
    record = run(2, 16, max_num_batched_tokens=512, max_num_seqs=16)
    steps = record.steps
    start, end = steps["start_s"].to_numpy(), steps["start_s"].to_numpy() + steps["duration_s"].to_numpy()
    assert (start[1:] < end[:-1] - 1e-6).mean() > 0.5
    metrics = summarise(record).metrics
    busy = metrics["busy"].value
    assert busy is not None
    assert 0.9 < busy <= 1.0
