"""Latency and memory of deployments from an architecture and a dozen constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policies.extrapolation import MAVERIQ_MODELS, RING, RTX_A6000, RTX_A6000_MEMORY, TENSORRT_LLM, Architecture, Hardware, Runs
from policies.extrapolation.hardware import columns, from_constants
from policies.extrapolation.work import count

SMALL = Architecture.llama(layers=4, hidden=1024, ffn=4096, heads=8, kv_heads=2, vocab=32000)
SEVEN_B = MAVERIQ_MODELS["llama-2-7b"]

MEMORY_ONLY = Hardware({"fp16": 1e-12}, {"fp16": 0.0}, 0.0, 0.0, 0.0, 0.0, 0.0, {}, {}, 0.0)
"""A terabyte per second and nothing else."""


def test_architectures_have_the_parameters_of_the_published_models() -> None:
    billions = {name: (a.layers * a.layer_weights + 2 * a.vocab * a.hidden) / 1e9 for name, a in MAVERIQ_MODELS.items()}
    assert billions["llama-2-7b"] == pytest.approx(6.74, rel=0.01)
    assert billions["llama-2-70b"] == pytest.approx(68.98, rel=0.01)
    assert billions["gptj-6b"] == pytest.approx(6.05, rel=0.01)
    assert billions["falcon-40b"] == pytest.approx(41.8, rel=0.02)


def test_a_step_of_a_memory_bound_model_reads_weights_head_and_kv_once() -> None:
    runs = Runs.of(SMALL, prompt=100, output=10)
    weights = 4 * SMALL.layer_weights * 2
    head = 32000 * 1024 * 2
    kv = 4 * 2 * 2 * 128 * 2 * (100 + 5)
    assert MEMORY_ONLY.latency(SMALL, runs).step_s == pytest.approx((weights + head + kv) * 1e-12)


def test_total_is_the_prompt_and_one_step_for_every_further_token() -> None:
    latency = RTX_A6000.latency(SEVEN_B, Runs.of(SEVEN_B, tp=2, prompt=923, output=100))
    assert latency.total_s == pytest.approx(latency.prompt_s + 99 * latency.step_s)


def test_many_options_at_once_give_what_each_gives_alone() -> None:
    tp, pp, precision = zip(*[(t, p, k) for t in (1, 2, 4, 8) for p in (1, 2, 3) for k in ("fp16", "int8", "int4")], strict=True)
    together = RTX_A6000.latency(SEVEN_B, Runs.of(SEVEN_B, tp=tp, pp=pp, precision=precision, prompt=923, output=100)).total_s
    alone = [
        RTX_A6000.latency(SEVEN_B, Runs.of(SEVEN_B, tp=t, pp=p, precision=k, prompt=923, output=100)).total_s[0]
        for t, p, k in zip(tp, pp, precision, strict=True)
    ]
    assert together.tolist() == alone


@pytest.mark.parametrize("field", ["batch", "prompt", "output", "layers"])
def test_more_work_never_takes_less_time_on_one_gpu(field: str) -> None:
    sizes = [1, 2, 3, 8, 17, 64]
    arguments = {"prompt": 100, "output": 10, field: sizes}
    total = RTX_A6000.latency(SEVEN_B, Runs.of(SEVEN_B, **arguments)).total_s
    assert (np.diff(total) > 0).all()


def test_large_batches_are_bound_by_compute() -> None:
    batches = np.array([512, 1024])
    bound = replace(MEMORY_ONLY, compute={"fp16": 1e-14})
    step = bound.latency(SMALL, Runs.of(SMALL, batch=batches, prompt=1, output=1)).step_s
    kv = count(SMALL, Runs.of(SMALL, batch=batches, prompt=1, output=1), RING).other_read * 1e-12
    assert (step - kv)[1] == pytest.approx(2 * (step - kv)[0])


def test_a_short_prompt_takes_at_least_a_pass_through_the_weights() -> None:
    latency = MEMORY_ONLY.latency(SMALL, Runs.of(SMALL, prompt=1, output=2))
    assert latency.prompt_s == pytest.approx(latency.step_s)


def test_the_largest_stage_prepares_the_step() -> None:
    host = replace(MEMORY_ONLY, read={"fp16": 0.0}, host=1e-3)
    step = host.latency(SEVEN_B, Runs.of(SEVEN_B, pp=[1, 2, 3], prompt=1, output=1)).step_s
    assert step == pytest.approx([0.032, 0.016, 0.011])
    uneven = Runs.of(SEVEN_B, pp=2, largest_stage=20, prompt=1, output=1)
    assert host.latency(SEVEN_B, uneven).step_s == pytest.approx(0.020)


def test_tensorrt_changes_its_all_reduce_with_ranks_and_message_size() -> None:
    ranks = np.array([1, 2, 2, 4, 4, 4, 8, 8, 8])
    size = np.array([1e3, 1e3, 17e6, 0.9e6, 2e6, 9e6, 0.4e6, 0.6e6, 9e6])
    traffic = TENSORRT_LLM.traffic(ranks, size)
    assert (traffic.peer / size).tolist() == [0, 1, 0, 3, 1.5, 0, 7, 1.75, 0]
    assert (traffic.ring / size).tolist() == [0, 0, 1, 0, 0, 1.5, 0, 0, 1.75]


def test_a_batch_that_crosses_the_threshold_gets_faster() -> None:
    architecture = MAVERIQ_MODELS["gptj-6b"]
    step = RTX_A6000.latency(architecture, Runs.of(architecture, tp=8, batch=[32, 64], prompt=20, output=300)).step_s
    assert step[1] < 0.6 * step[0]


def test_a_link_that_was_never_measured_gives_no_answer_and_can_be_borrowed() -> None:
    unlinked = replace(RTX_A6000, peer={2: 1e-11}, ring={})
    runs = Runs.of(SEVEN_B, tp=[1, 2, 4], prompt=923, output=100)
    assert np.isfinite(unlinked.latency(SEVEN_B, runs).total_s).tolist() == [True, True, False]
    borrowed = unlinked.with_links_of(RTX_A6000)
    assert borrowed.peer == {**RTX_A6000.peer, 2: 1e-11}
    assert np.isfinite(borrowed.latency(SEVEN_B, runs).total_s).all()


def test_a_precision_that_was_never_measured_has_the_constants_of_16_bits() -> None:
    only = replace(RTX_A6000, read={"fp16": 1.465e-12}, compute={"fp16": 1e-14})
    fp8, int8 = (only.latency(SEVEN_B, Runs.of(SEVEN_B, precision=kind, prompt=9, output=9)).total_s for kind in ("fp8", "int8"))
    assert fp8 == int8


def test_columns_times_constants_are_the_latency() -> None:
    constants = {
        **{f"read.{k}": v for k, v in RTX_A6000.read.items()},
        **{f"compute.{k}": v for k, v in RTX_A6000.compute.items()},
        **{f"peer.{k}": v for k, v in RTX_A6000.peer.items()},
        **{f"ring.{k}": v for k, v in RTX_A6000.ring.items()},
        **{name: getattr(RTX_A6000, name) for name in ("layer", "step", "prompt", "host", "all_reduce", "gather")},
    }
    assert from_constants(constants, TENSORRT_LLM) == RTX_A6000
    precision = ["fp16", "int8", "int4", "int4-g128"]
    runs = Runs.of(SEVEN_B, tp=[1, 2, 4, 8], pp=[8, 3, 2, 1], precision=precision, prompt=923, output=[10, 20, 100, 200])
    names, matrix = columns(SEVEN_B, runs, TENSORRT_LLM)
    linear = matrix @ np.array([constants[name] for name in names])
    assert linear == pytest.approx(RTX_A6000.latency(SEVEN_B, runs).total_s)


def test_impossible_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="more stages than the model has layers"):
        Runs.of(SMALL, pp=5, prompt=1, output=1)
    with pytest.raises(ValueError, match="batch must be at least 1"):
        Runs.of(SMALL, batch=[1, 0], prompt=1, output=1)
    with pytest.raises(ValueError, match="unknown precision fp5"):
        Runs.of(SMALL, precision="fp5", prompt=1, output=1)


def test_memory_grows_with_the_square_of_the_ranks() -> None:
    tp = np.array([1, 2, 4, 8])
    total = RTX_A6000_MEMORY.total_bytes(SEVEN_B, Runs.of(SEVEN_B, tp=tp, prompt=1, output=1))
    buffers = total - RTX_A6000_MEMORY.context * tp - RTX_A6000_MEMORY.weights * tp * SEVEN_B.vocab * SEVEN_B.hidden * 2
    assert np.diff(buffers) == pytest.approx(RTX_A6000_MEMORY.rank * np.diff(tp * (tp - 1)))


def test_kv_tokens_fill_what_weights_and_buffers_leave() -> None:
    runs = Runs.of(SEVEN_B, tp=[1, 2, 1], pp=[1, 1, 2], precision=["fp16", "fp16", "int8"], prompt=1, output=1)
    tokens = RTX_A6000_MEMORY.kv_tokens(SEVEN_B, runs, 45e9)
    assert (tokens % 16 == 0).all()
    one_gpu_bytes = RTX_A6000_MEMORY.kv * tokens[0] * 2 * 32 * 4096 * 2
    rest = RTX_A6000_MEMORY.total_bytes(SEVEN_B, Runs.of(SEVEN_B, prompt=1, output=1))[0]
    assert one_gpu_bytes + rest == pytest.approx(45e9, rel=1e-3)
    assert tokens[1] > 2 * tokens[0]
    assert RTX_A6000_MEMORY.kv_tokens(SEVEN_B, runs, 10e9).tolist()[0] == 0


def test_kv_heads_are_copied_when_ranks_outnumber_them() -> None:
    tokens = RTX_A6000_MEMORY.kv_tokens(SMALL, Runs.of(SMALL, tp=[2, 4], prompt=1, output=1), 20e9)
    assert tokens[1] < 1.1 * tokens[0]
