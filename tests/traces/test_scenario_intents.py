"""The inventory and the intents of a scenario: what may be written, and what is said of what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.intent import Intent
from traces.errors import InputError
from traces.scenario import Scenario, load_scenario

BASE = """
model: llama-3.1-8b
fleet:
  - {name: whole, gpu: h200, gpus: 2, parked: 1}
  - {name: split, gpu: h200, gpus: 2, tensor_parallel: 2, parked: 1}
workload:
  - {name: chat, trace: {prompt_tokens: 300, output_tokens: 60}, rate: 6/s}
policy: iserve
duration: 30s
"""


def load(folder: Path, *sets: str) -> Scenario:
    path = folder / "scenario.yaml"
    path.write_text(BASE)
    return load_scenario(path, sets)


def test_intents_are_read_with_their_units(tmp_path: Path) -> None:
    said = load(tmp_path, "intents=[{goal: min_cost, ttft: 200ms, accuracy: 99%}, {at: 5min, goal: min_latency, cautious: true}]")
    assert list(said.wishes) == [
        (0.0, "llama-3.1-8b", Intent("min_cost", ttft_s=0.2, accuracy=0.99)),
        (300.0, "llama-3.1-8b", Intent("min_latency", cautious=True)),
    ]


def test_what_is_resolved_validates_to_the_same(tmp_path: Path) -> None:
    said = load(tmp_path, "intents=[{goal: min_cost, ttft: 200ms}]", "inventory={h200: 2}")
    assert Scenario.model_validate(said.resolved()) == said


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("inventory={h20: 4}", "inventory.h20: is not a known GPU; did you mean"),
        ("inventory={h200: 0}", "inventory.h200"),
        ("inventory={h200: 4, l40s: 4}", "inventory.l40s: no pool of the fleet is on l40s; add one, or remove it"),
        ("inventory={h200: 1}", "fleet[1].tensor_parallel: an engine takes 2 h200, and the inventory has 1; lower it"),
        ("intents=[{goal: fastest}]", "intents"),
        ("intents=[{goal: min_cost, ttft: 0s}]", "intents"),
        (
            "intents=[{model: llama-3.1-70b}]",
            "intents[0].model: no pool of the fleet serves llama-3.1-70b; name one of llama-3.1-8b",
        ),
    ],
)
def test_a_fault_says_where_it_is_and_what_to_do(tmp_path: Path, override: str, fault: str) -> None:
    with pytest.raises(InputError) as told:
        load(tmp_path, override)
    assert any(fault in line for line in told.value.faults), told.value.faults


def test_what_is_up_at_the_start_must_fit_the_inventory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"inventory\.h200: 3 h200 are in use at the start, and there are 2; park more engines"):
        load(tmp_path, "inventory={h200: 2}", "fleet.split.parked=0")


def test_intents_that_nobody_goes_by_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"intents: nobody goes by them; add `policy: \{scaler: iserve\}`, or remove them"):
        load(tmp_path, "intents=[{goal: min_cost}]", "policy=vllm")
