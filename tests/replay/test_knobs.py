"""A scenario's knobs reach vLLM under its own names, and secrets do not reach its processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from replay.knobs import engine_arguments, environment, options, scheduler_class, vocabulary
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
