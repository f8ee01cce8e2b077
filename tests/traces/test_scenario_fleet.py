"""Fleets of several pools in a scenario: what may be written, what it resolves to, and what is refused with which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from policies.types import Role
from traces.build import build_workload
from traces.errors import InputError
from traces.scenario import Scenario, load_scenario

MIXED = """\
model: llama-3.1-8b
fleet:
  - {name: new, gpu: h200, gpus: 4, tensor_parallel: 2, parked: 1, start_up: {load: 1GB/s, overhead: 10s}}
  - {name: old, gpu: a100, gpus: 2, tier: slow, engine: {max_model_len: 8192}}
  - {name: large, model: llama-3.1-70b, gpu: h200, gpus: 4, tensor_parallel: 4, start_up: 45s}
engine: {block_size: 32}
workload:
  - {name: chat, trace: {prompt_tokens: 100, output_tokens: 10}, rate: 5/s}
  - {name: expert, model: llama-3.1-70b, trace: {prompt_tokens: 100, output_tokens: 10}, rate: 1/s}
duration: 1min
"""
APART = """\
model: llama-3.1-8b
fleet:
  - {role: prefill, gpu: h200, gpus: 1}
  - {role: decode, gpu: h200, gpus: 2, tensor_parallel: 2}
workload: [{name: chat, trace: azure-2023-conv, rate: 5/s}]
duration: 1min
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Scenario]:
    def load(text: str, *sets: str) -> Scenario:
        (tmp_path / "scenario.yaml").write_text(text)
        return load_scenario(tmp_path / "scenario.yaml", sets)

    return load


def test_engines_count_through_all_pools(load: Callable[..., Scenario]) -> None:
    new, old, large = load(MIXED).pools
    assert [(pool.name, list(pool.engines), pool.gpus_per_engine) for pool in (new, old, large)] == [
        ("new", [0, 1], 2),
        ("old", [2, 3], 1),
        ("large", [4], 4),
    ]
    assert [new.parked(0), new.parked(1), old.parked(3)] == [False, True, False]
    assert (new.model, large.model) == ("llama-3.1-8b", "llama-3.1-70b")


def test_an_engine_in_stages_has_the_gpus_of_all_of_them_and_loads_the_fullest(load: Callable[..., Scenario]) -> None:
    staged = load(MIXED.replace("tensor_parallel: 2, parked: 1,", "tensor_parallel: 2, pipeline_parallel: 2,")).pools[0]
    assert (list(staged.engines), staged.gpus_per_engine) == ([0], 4)
    assert staged.start_up_s == pytest.approx(10 + staged.shape.weight_bytes(2, pipeline_parallel=2) / 1e9)
    assert staged.kv_token_bytes == load(MIXED).pools[0].kv_token_bytes == staged.shape.kv_bytes_per_token()
    assert staged.kv_blocks > 2 * load(MIXED).pools[0].kv_blocks


def test_a_pool_takes_the_knobs_that_it_does_not_name_from_the_scenario_and_its_gpu(load: Callable[..., Scenario]) -> None:
    new, old, _ = load(MIXED).pools
    assert (new.engine.block_size, old.engine.block_size) == (32, 32)
    assert (new.window, old.window) == (131072, 8192)
    assert (new.engine.max_num_batched_tokens, old.engine.max_num_batched_tokens) == (8192, 2048)  # vLLM's defaults per GPU
    changed = load(MIXED, "engine.max_num_seqs=64", "fleet.old.engine.max_num_seqs=32").pools
    assert [pool.engine.max_num_seqs for pool in changed] == [64, 32, 64]


def test_each_pool_has_the_kv_memory_that_its_model_leaves_on_its_gpus(load: Callable[..., Scenario]) -> None:
    new, old, large = load(MIXED).pools
    assert new.kv_tokens > 3 * old.kv_tokens
    assert large.kv_token_bytes == 80 * 2 * 8 * 128 * 2
    assert new.kv_token_bytes == 32 * 2 * 8 * 128 * 2


def test_start_up_is_a_time_or_follows_from_the_weights(load: Callable[..., Scenario]) -> None:
    new, old, large = load(MIXED).pools
    assert new.start_up_s == pytest.approx(10 + new.shape.weight_bytes(2) / 1e9)
    assert (old.start_up_s, large.start_up_s) == (60.0, 45.0)


def test_prefill_and_decode_pools_are_joined_by_a_network(load: Callable[..., Scenario]) -> None:
    scenario = load(APART)
    prefill, decode = scenario.pools
    assert (prefill.role, decode.role) == (Role.PREFILL, Role.DECODE)
    assert (prefill.link_bytes_s, decode.link_bytes_s) == (50e9, 100e9)
    assert scenario.resolved()["kv_transfer"] == {"bandwidth": 50e9, "latency": 1e-3}
    assert load(APART, "kv_transfer.bandwidth=10GB/s").pools[0].link_bytes_s == 10e9


@pytest.mark.parametrize("text", [MIXED, APART])
def test_a_resolved_scenario_reads_back_as_itself(load: Callable[..., Scenario], text: str) -> None:
    scenario = load(text)
    again = Scenario.model_validate(scenario.resolved())
    assert again == scenario
    assert again.pools == scenario.pools
    assert again.resolved() == scenario.resolved()


def test_a_fleet_of_one_pool_resolves_to_what_it_did_before_there_were_more(load: Callable[..., Scenario]) -> None:
    one = load("model: llama-3.1-8b\nfleet: {gpu: h200, gpus: 2}\nworkload: [{name: chat, trace: azure-2023-conv, rate: 5/s}]\n")
    assert one.resolved()["fleet"] == {"gpu": "h200", "gpus": 2, "tensor_parallel": 1, "pipeline_parallel": 1, "precision": "bf16"}
    assert {"kv_transfer", "faults"}.isdisjoint(one.resolved())
    assert "scaler" not in one.resolved()["policy"]
    assert one.fleet is one.declared


def test_requests_ask_for_their_entrys_model(load: Callable[..., Scenario]) -> None:
    classes = build_workload(load(MIXED)).workload.classes
    assert {klass.name: klass.model for klass in classes} == {"chat": "llama-3.1-8b", "expert": "llama-3.1-70b"}


def test_a_request_must_fit_every_pool_of_its_model(load: Callable[..., Scenario]) -> None:
    long = MIXED.replace(
        "trace: {prompt_tokens: 100, output_tokens: 10}, rate: 5/s", "trace: {prompt_tokens: 9000, output_tokens: 1}, rate: 5/s"
    )
    with pytest.raises(InputError, match="context window of 8192 tokens"):
        build_workload(load(long))


BAD = {
    "unknown key": ("tier: slow", "teir: slow", "4: fleet[1].teir: unknown key; did you mean `tier`?"),
    "gpu": ("gpu: a100", "gpu: a1000", "4: fleet[1].gpu: GPU `a1000` is not known; did you mean `a100`?"),
    "knob": (
        "max_model_len: 8192",
        "max_model_length: 8192",
        "4: fleet[1].engine.max_model_length: unknown key; did you mean `max_model_len`?",
    ),
    "rule between knobs": (
        "max_model_len: 8192",
        "max_num_seqs: 4000",
        "4: fleet[1].engine.max_num_batched_tokens: is 2048, less than",
    ),
    "memory": (
        "gpu: h200, gpus: 4, tensor_parallel: 4",
        "gpu: h100, gpus: 4, tensor_parallel: 2",
        "5: fleet[2].engine: one request of 131072 tokens needs more KV",
    ),
    "weights": (
        "gpu: h200, gpus: 4, tensor_parallel: 4",
        "gpu: a100, gpus: 4",
        "5: fleet[2]: llama-3.1-70b in bf16 on a100: weights 131 GiB",
    ),
    "parked": ("parked: 1", "parked: 3", "3: fleet[0].parked: is 3, and the pool has 2 engines; lower it"),
    "start-up": ("start_up: 45s", "start_up: {overhead: 5s}", "5: fleet[2].start_up: takes a time, or a `load:` bandwidth"),
    "bandwidth": ("load: 1GB/s", "load: fast", "3: fleet[0].start_up.load: `fast` is not a bandwidth; write it like 50GB/s"),
    "name": ("name: old", "name: new", "4: fleet[1].name: `new` is the name of another pool too; give each its own"),
    "price": (
        "gpus: 4, tensor_parallel: 4",
        "gpus: 4, usd_per_gpu_hour: 9, tensor_parallel: 4",
        "5: fleet[2].usd_per_gpu_hour: differs from that of fleet[0]",
    ),
    "no pool for a model": (
        "model: llama-3.1-70b, gpu",
        "gpu",
        "9: workload[1].model: no pool of the fleet serves llama-3.1-70b; give one",
    ),
    "role alone": (
        "tier: slow",
        "role: prefill",
        "2: fleet: llama-3.1-8b has prefill engines and no decode engines; add a pool with `role: decode`",
    ),
    "role with drafts": (
        "tier: slow, engine: {max_model_len: 8192}",
        "role: decode, engine: {async_scheduling: on}",
        "4: fleet[1].role: is not simulated together with async_scheduling; turn that off",
    ),
    "role with stages": (
        "tier: slow,",
        "role: decode, pipeline_parallel: 2,",
        "4: fleet[1].role: is not simulated together with pipeline_parallel; set that to 1 for this pool, or leave out the role",
    ),
    "GPUs that do not make engines of stages": (
        "gpus: 4, tensor_parallel: 4",
        "gpus: 6, tensor_parallel: 2, pipeline_parallel: 2",
        "5: fleet[2].gpus: 6 GPUs do not make whole engines of 4 (2 × 2 stages); use a multiple of 4",
    ),
    "more stages than layers": (
        "gpus: 2, tier: slow",
        "gpus: 40, pipeline_parallel: 40",
        "4: fleet[1].pipeline_parallel: llama-3.1-8b has 32 layers, not enough for 40 stages; use at most 32",
    ),
    "network for nobody": (
        "duration:",
        "kv_transfer: {}\nduration:",
        "10: kv_transfer: is between prefill and decode engines, and there are none",
    ),
    "empty": (
        MIXED[MIXED.index("fleet:") : MIXED.index("engine: {b")],
        "fleet: []\n",
        "2: fleet: is empty; give at least one entry",
    ),
    "engine that fails": (
        "duration:",
        "faults: {events: [{engine: e9, at: 5s}]}\nduration:",
        "10: faults.events[0].engine: there is no engine `e9`; use one of e0 to e4",
    ),
    "no end": (
        "duration: 1min",
        "faults: {mtbf: 1h}",
        "faults: goes on for as long as the run does, which has no end of its own; add `duration:`",
    ),
    "scaler": (
        "duration:",
        "policy: {scaler: target-lod}\nduration:",
        "10: policy.scaler: there is no scaler 'target-lod'; did you mean 'target-load'?",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_named_with_its_place_and_a_remedy(load: Callable[..., Scenario], name: str) -> None:
    old, new, text = BAD[name]
    assert old in MIXED
    with pytest.raises(InputError) as refusal:
        load(MIXED.replace(old, new, 1))
    assert any(text in fault for fault in refusal.value.faults), refusal.value.faults
