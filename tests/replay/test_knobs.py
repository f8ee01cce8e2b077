"""A scenario's knobs reach vLLM under its own names, and secrets do not reach its processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from replay.drafter import has_probabilities
from replay.knobs import engine_arguments, environment, model_shape, options, scheduler_class, vocabulary
from traces.errors import InputError
from traces.scenario import Scenario
from traces.scenario.replay import Replay


def scenario(**engine: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": 4, "tensor_parallel": 2},
            "engine": {"block_size": 32, "max_model_len": 4096, **engine},
            "workload": [{"name": "chat", "trace": {"prompt_tokens": 40, "output_tokens": 8}, "rate": 1, "requests": 9}],
        }
    )


CPU = Replay(device="cpu", shape="tiny")
GPU = Replay(device="cuda")


def test_knobs_have_vllm_s_names(tmp_path: Path) -> None:
    found = engine_arguments(scenario(max_num_seqs=16, enable_prefix_caching=False).pools[0], GPU, 3, tmp_path)
    assert (found["max_num_seqs"], found["enable_prefix_caching"], found["tensor_parallel_size"]) == (16, False, 2)
    assert (found["max_model_len"], found["load_format"], found["served_model_name"]) == (4096, "dummy", "llama-3.1-8b")
    assert "num_gpu_blocks_override" not in found, "on a GPU vLLM finds out what fits"


def test_a_cpu_has_as_many_blocks_as_the_scenario_says(tmp_path: Path) -> None:
    pool = scenario(num_gpu_blocks_override=500).pools[0]
    found = engine_arguments(pool, CPU, 0, tmp_path)
    assert found["num_gpu_blocks_override"] == 501, "vLLM sets one apart"
    assert json.loads((Path(found["model"]) / "config.json").read_text())["vocab_size"] == vocabulary(pool, CPU)


def test_engines_on_a_gpu_have_the_precision_of_their_pool(tmp_path: Path) -> None:
    def of(device: Replay, **pool: str) -> dict[str, Any]:
        data = scenario().resolved()
        data["fleet"] |= pool
        return engine_arguments(Scenario.model_validate(data).pools[0], device, 0, tmp_path)

    eight = of(GPU, precision="fp8", kv_precision="fp8")
    assert (eight["quantization"], eight["kv_cache_dtype"]) == ("fp8", "fp8")
    assert not {"quantization", "kv_cache_dtype"} & set(of(GPU))
    assert "quantization" not in of(CPU, precision="fp8"), "a stand-in has 16 bits"
    with pytest.raises(InputError, match=r"vLLM does not quantise to int4 as it loads; name a checkpoint with replay\.weights"):
        of(GPU, precision="int4")


def test_models_of_a_fleet_may_have_stand_ins_of_different_sizes() -> None:
    by_model = Replay(device="cpu", shape={"llama-3.1-8b": "mini"})
    pool = scenario().pools[0]
    assert model_shape(pool, by_model).name == "mini-llama-3.1-8b"
    assert model_shape(pool, Replay(device="cpu", shape={"qwen2.5-7b": "tiny"})) == pool.shape
    assert len({model_shape(pool, Replay(shape=size)).hidden for size in ("tiny", "mini", "small", "full")}) == 4


def test_what_a_cpu_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"engine\.block_size: is 16; vLLM on a CPU takes multiples of 32"):
        engine_arguments(scenario(block_size=16).pools[0], CPU, 0, tmp_path)
    with pytest.raises(InputError, match=r"engine\.async_scheduling"):
        engine_arguments(scenario(async_scheduling=True).pools[0], CPU, 0, tmp_path)


def test_the_plug_in_fits_the_way_of_scheduling() -> None:
    assert scheduler_class(scenario().pools[0]).endswith(".SteeredScheduler")
    assert scheduler_class(scenario(async_scheduling=True).pools[0]).endswith(".SteeredAsyncScheduler")


def test_arguments_become_options() -> None:
    words = options({"model": "m", "max_num_seqs": 4, "enforce_eager": True, "async_scheduling": False, "hf_overrides": {"a": 1}})
    assert words == ["m", "--max-num-seqs", "4", "--enforce-eager", "--no-async-scheduling", "--hf-overrides", '{"a": 1}']


def test_each_engine_has_its_own_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pools = [pool for pool in scenario().pools for _ in pool.engines]
    assert [environment(pools, index, GPU)["CUDA_VISIBLE_DEVICES"] for index in range(2)] == ["0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,3,1")
    assert environment(pools, 1, GPU)["CUDA_VISIBLE_DEVICES"] == "3,1"


def test_secrets_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", "sk-very-secret")
    found = environment(list(scenario().pools), 0, CPU, ["SERVER_KEY"])
    assert "sk-very-secret" not in found.values()


def test_a_model_folder_tells_its_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vocab_size": 32000}')
    pool = scenario().pools[0]
    assert vocabulary(pool, Replay(weights=str(tmp_path))) == 32000
    with pytest.raises(InputError, match=r"replay\.weights: .* tells no vocab_size"):
        vocabulary(pool, Replay(weights=str(tmp_path / "nowhere")))


DRAFTS = {"num_speculative_tokens": 3, "acceptance": [0.9, 0.5, 0.5]}


def test_random_weights_accept_drafts_at_the_rates_of_the_scenario(tmp_path: Path) -> None:
    pool = scenario(speculative={"method": "ngram", **DRAFTS}).pools[0]
    found = engine_arguments(pool, GPU, 0, tmp_path)["speculative_config"]
    assert found["rejection_sample_method"] == "synthetic"
    assert found["synthetic_acceptance_rates"] == pytest.approx([0.9, 0.45, 0.225]), "vLLM's are unconditional"
    assert "rejection_sample_method" not in engine_arguments(pool, CPU, 0, tmp_path)["speculative_config"], "it has none there"
    real = Replay(device="cuda", weights="/models/m")
    assert "rejection_sample_method" not in engine_arguments(pool, real, 0, tmp_path)["speculative_config"]


def test_a_draft_model_without_weights_is_a_layer_of_the_engines_own(tmp_path: Path) -> None:
    pool = scenario(speculative={"method": "draft_model", **DRAFTS}).pools[0]
    found = engine_arguments(pool, CPU, 0, tmp_path)["speculative_config"]
    written = json.loads((Path(found["model"]) / "config.json").read_text())
    assert (written["num_hidden_layers"], written["vocab_size"]) == (1, vocabulary(pool, CPU))


def test_a_drafter_with_weights_of_its_own_has_to_be_named(tmp_path: Path) -> None:
    pool = scenario(speculative={"method": "eagle", **DRAFTS}).pools[0]
    with pytest.raises(InputError, match=r"^replay\.drafter: eagle drafts with weights of its own"):
        engine_arguments(pool, CPU, 0, tmp_path)
    found = engine_arguments(pool, Replay(device="cuda", weights="/models/m", drafter="/models/d"), 0, tmp_path)
    assert found["speculative_config"]["model"] == "/models/d"
    assert has_probabilities(pool, CPU) is False


def test_kv_is_handed_over_through_files_on_a_cpu_and_by_nixl_on_gpus(tmp_path: Path) -> None:
    roles = [{"gpu": "h200", "gpus": 1, "role": role} for role in ("prefill", "decode")]
    written = scenario().model_dump(mode="json", by_alias=True, exclude_none=True)
    pools = Scenario.model_validate({**written, "fleet": roles}).pools
    on_cpu = [engine_arguments(pool, CPU, 0, tmp_path)["kv_transfer_config"] for pool in pools]
    assert [config["kv_role"] for config in on_cpu] == ["kv_producer", "kv_consumer"]
    assert len({config["kv_connector_extra_config"]["shared_storage_path"] for config in on_cpu}) == 1
    on_gpu = [engine_arguments(pool, GPU, 0, tmp_path)["kv_transfer_config"] for pool in pools]
    assert {config["kv_connector"] for config in on_gpu} == {"NixlConnector"}
    ports = {environment(pools, index, GPU)["VLLM_NIXL_SIDE_CHANNEL_PORT"] for index in (0, 1)}
    assert len(ports) == 2, "engines of one host must not share the side channel"
