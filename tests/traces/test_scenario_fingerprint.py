"""`fleet.fingerprint`: step times out of a file beside the scenario."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from policies.fingerprint import Fingerprint
from sim.manifest import decisive
from traces.errors import InputError
from traces.fingerprints import pool_fingerprint
from traces.scenario import load_scenario

TEXT = """
model: llama-3.1-8b
fleet: {gpu: h100, gpus: 1, fingerprint: mine.json}
workload: [{name: chat, trace: {prompt_tokens: 10, output_tokens: 10}, rate: 1/s}]
duration: 1min
"""


def write(folder: Path, text: str = TEXT) -> Path:
    folder.mkdir(exist_ok=True)
    linear = Fingerprint.linear(overhead_s=0.01, per_token_s=1e-4)
    fingerprint = replace(linear, model="llama-3.1-8b", gpu="h100", tensor_parallel=1, precision="bf16")
    (folder / "mine.json").write_text(json.dumps(fingerprint.to_dict()))
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


def test_it_lies_beside_the_scenario_and_is_what_the_engines_are_built_with(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path))
    found = pool_fingerprint("llama-3.1-8b", scenario.pools[0].hardware)
    assert found.terms.overhead == 0.01
    without = load_scenario(write(tmp_path), ["fleet.fingerprint=null"]).pools[0].hardware
    assert pool_fingerprint("llama-3.1-8b", without).terms.overhead != 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model=llama-2-7b", "llama-2-7b/h100/tp1/bf16"),
        ("fleet.gpu=h200", "llama-3.1-8b/h200/tp1/bf16"),
        ("fleet.kv_precision=fp8", r"llama-3.1-8b/h100/tp1/bf16\+kv-fp8"),
    ],
)
def test_one_of_another_deployment_is_refused_by_name(tmp_path: Path, change: str, said: str) -> None:
    scenario = load_scenario(write(tmp_path), [change])
    with pytest.raises(InputError, match=rf"mine.json is of llama-3.1-8b/h100/tp1/bf16, and the pool is {said}"):
        pool_fingerprint(scenario.model, scenario.pools[0].hardware)


def test_where_it_lies_does_not_count(tmp_path: Path) -> None:
    here, there = (load_scenario(write(tmp_path / name)).resolved() for name in ("here", "there"))
    assert here != there
    assert decisive(here) == decisive(there)


def test_a_pool_of_several_has_its_own(tmp_path: Path) -> None:
    fleet = "fleet: [{gpu: h100, gpus: 1, fingerprint: mine.json}, {gpu: h100, gpus: 1}]"
    pools = load_scenario(write(tmp_path, TEXT.replace("fleet: {gpu: h100, gpus: 1, fingerprint: mine.json}", fleet))).pools
    assert [pool.hardware.fingerprint is not None for pool in pools] == [True, False]


def test_a_file_that_is_not_there_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scenario.yaml:3: fleet.fingerprint: .*other.json: no such file"):
        load_scenario(write(tmp_path, TEXT.replace("mine.json", "other.json")))
