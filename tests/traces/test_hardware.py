"""Data sheets and the memory arithmetic that follows from them."""

from __future__ import annotations

import pytest

from traces.errors import InputError
from traces.hardware import GPUS, MODELS, gpu, model, stage_layers


@pytest.mark.parametrize(("name", "parameters"), [("llama-3.1-8b", 8_030_261_248), ("llama-3.1-70b", 70_553_706_496)])
def test_weights_are_two_bytes_for_each_published_parameter(name: str, parameters: int) -> None:
    assert model(name).weight_bytes() == 2 * parameters


def test_kv_of_a_token_is_two_vectors_per_layer_and_kv_head() -> None:
    assert model("llama-3.1-8b").kv_bytes_per_token() == 32 * 2 * 8 * 128 * 2 == 131_072
    assert model("llama-3.1-70b").kv_bytes_per_token(tensor_parallel=8) == 80 * 2 * 1 * 128 * 2


def test_sharding_splits_weights_but_not_norms_and_fp8_halves_linear_layers_only() -> None:
    shape = model("llama-3.1-70b")
    norms = 2 * (2 * 80 + 1) * 8192
    assert shape.weight_bytes(4) == (shape.weight_bytes() - norms) / 4 + norms
    embeddings = 2 * 128256 * 8192 * 2
    assert shape.weight_bytes(1, "fp8") == (shape.weight_bytes() - embeddings - norms) / 2 + embeddings + norms


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [(32, 2, [16, 16]), (33, 2, [17, 16]), (80, 3, [27, 27, 26]), (61, 4, [15, 15, 16, 15]), (30, 4, [7, 8, 8, 7])],
)
def test_layers_are_dealt_out_to_stages_as_by_vllm(layers: int, stages: int, sizes: list[int]) -> None:
    dealt = stage_layers(layers, stages)
    assert [len(stage) for stage in dealt] == sizes
    assert [layer for stage in dealt for layer in stage] == list(range(layers))


def test_the_fullest_stage_holds_its_layers_and_one_of_embedding_and_head() -> None:
    shape = model("llama-3.1-70b")
    layer = 2 * (8192 * (2 * 64 + 2 * 8) * 128 + 3 * 8192 * 28672 + 2 * 8192)
    table = 2 * 128256 * 8192
    assert shape.weight_bytes(pipeline_parallel=2) == 40 * layer + table + 2 * 8192  # the last one, with the final norm
    assert shape.weight_bytes(pipeline_parallel=3) == 27 * layer + table  # the first one; the last has 26 layers
    assert model("llama-3.2-1b").tied  # whose last stage needs a copy of the embedding
    assert model("llama-3.2-1b").weight_bytes(pipeline_parallel=2) > model("llama-3.2-1b").weight_bytes() / 2 + 128256 * 2048


def test_layers_that_come_before_the_experts_make_their_stage_lighter() -> None:
    shape = model("deepseek-v3")
    weights = [shape.weight_bytes(8, "fp8_block", pipeline_parallel=n) for n in (1, 2)]
    # 31 layers, of which 3 are plain, before 30 that all have experts: 30 of 58 mixtures are the most.
    assert weights[1] / weights[0] == pytest.approx(30 / 58, rel=0.01)


def test_kv_memory_with_stages_is_that_of_the_stage_with_the_least_room() -> None:
    shape, h100 = model("llama-3.1-70b"), gpu("h100")
    tokens = shape.kv_tokens_capacity(h100, 4, pipeline_parallel=3, utilization=0.9)
    used = tokens * 27 * 2 * 2 * 128 * 2 + shape.weight_bytes(4, pipeline_parallel=3) + shape.reserve_bytes(4)
    assert 0 <= 0.9 * h100.memory_bytes - used < 27 * 2 * 2 * 128 * 2
    with pytest.raises(InputError, match=r"use pipeline_parallel ≥ 2, or a GPU with more memory"):
        model("llama-3.1-405b").kv_tokens_capacity(gpu("h100"), 8)


def test_what_weights_and_reserve_leave_of_the_memory_holds_kv() -> None:
    shape, h100 = model("llama-3.1-8b"), gpu("h100")
    tokens = shape.kv_tokens_capacity(h100, utilization=0.9)
    used = tokens * 131_072 + shape.weight_bytes() + shape.reserve_bytes()
    assert 0 <= 0.9 * h100.memory_bytes - used < 131_072
    assert 420_000 < tokens < 460_000


def test_a_larger_batch_leaves_less_memory_for_kv() -> None:
    shape, h100 = model("llama-3.1-8b"), gpu("h100")
    small = shape.kv_tokens_capacity(h100, max_batched_tokens=2048, max_seqs=128)
    assert small > shape.kv_tokens_capacity(h100, max_batched_tokens=16384, max_seqs=1024)


def test_weights_that_do_not_fit_are_refused_with_the_numbers_and_the_remedy() -> None:
    with pytest.raises(InputError, match=r"weights 131 GiB per GPU .* > 79 GiB × 0\.9; use tensor_parallel ≥ 2"):
        model("llama-3.1-70b").kv_tokens_capacity(gpu("h100"))
    with pytest.raises(InputError, match=r"use tensor_parallel ≥ 4"):
        model("llama-3.1-70b").kv_tokens_capacity(gpu("h100"), 2, utilization=0.8)


@pytest.mark.parametrize(
    ("kind", "wrong", "near"), [(gpu, "H200", "h200"), (gpu, "h10", "h100"), (model, "llama-3-8b", "llama-3.1-8b")]
)
def test_an_unknown_name_brings_up_the_nearest(kind: object, wrong: str, near: str) -> None:
    assert callable(kind)
    with pytest.raises(InputError, match=f"did you mean {near}"):
        kind(wrong)


def test_impossible_splits_and_precisions_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be split 3 ways"):
        model("llama-3.1-8b").kv_bytes_per_token(3)
    with pytest.raises(InputError, match="use one of bf16, fp8"):
        model("llama-3.1-8b").weight_bytes(1, "int3")


def test_every_entry_says_where_it_is_from() -> None:
    assert all(entry.source for entry in (*GPUS.values(), *MODELS.values()))
