"""What a replay knows before it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replay.world import World
from traces.errors import InputError
from traces.fingerprints import load_fingerprint
from traces.scenario import Scenario


def world(**fleet: object) -> World:
    chat = {"name": "chat", "trace": {"prompt_tokens": 10, "output_tokens": 4}, "rate": "1/s", "requests": 2}
    known = {"gpu": "h200", "gpus": 1, **fleet}
    return World(Scenario.model_validate({"model": "llama-3.1-8b", "fleet": known, "workload": [chat], "replay": {}}))


def test_of_a_deployment_that_the_library_knows_policies_believe_what_it_says() -> None:
    [believed] = world().fingerprints
    assert believed == load_fingerprint("llama-3.1-8b", "h200", 1, "bf16")


def test_step_times_of_another_deployment_are_refused_and_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.json"
    path.write_text(json.dumps(load_fingerprint("llama-3.1-8b", "h100", 1, "bf16").to_dict()), "utf-8")
    with pytest.raises(InputError, match="name a file of that"):
        _ = world(fingerprint=str(path)).fingerprints
