"""Engines that would not live."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import overcommit
from traces.scenario import Scenario, load_scenario

TEXT = """
model: llama-3.1-8b
fleet: {gpu: l40s, gpus: 1}
engine: {max_model_len: 4096}
workload: [{name: a, trace: {prompt_tokens: 100, output_tokens: 10}, rate: 1/s, requests: 5}]
"""


@pytest.fixture
def loaded(tmp_path: Path):
    path = tmp_path / "scenario.yaml"
    path.write_text(TEXT)

    def load(*sets: str) -> Scenario:
        return load_scenario(path, sets)

    return load


def crashes(loaded, *sets: str) -> int:
    return sum(overcommit.fault(loaded(*sets, f"seed={seed}")) is not None for seed in range(20))


def test_vllm_defaults_live_and_nearly_all_of_the_memory_with_large_steps_does_not(loaded) -> None:
    assert crashes(loaded) == 0
    large = ("engine.gpu_memory_utilization=0.98", "engine.max_num_batched_tokens=8192", "engine.max_num_seqs=1024")
    assert crashes(loaded, *large) == 20
    assert "out of memory" in str(overcommit.fault(loaded(*large)))


def test_the_edge_is_not_sharp_and_larger_steps_never_survive_more_often(loaded) -> None:
    found = [
        crashes(loaded, "engine.gpu_memory_utilization=0.95", f"engine.max_num_batched_tokens={n}", "engine.max_num_seqs=512")
        for n in (1024, 4096, 16384, 32768)
    ]
    assert found == sorted(found)
    assert any(0 < count < 20 for count in found)


def test_a_share_beyond_what_is_free_is_refused_at_the_start_and_a_seed_decides_alike_each_time(loaded) -> None:
    greedy = loaded("engine.gpu_memory_utilization=0.995")
    assert str(overcommit.fault(greedy)).startswith("start-up refused")
    edge = ("engine.gpu_memory_utilization=0.95", "engine.max_num_batched_tokens=16384")
    assert overcommit.fault(loaded(*edge, "seed=4")) == overcommit.fault(loaded(*edge, "seed=4"))
