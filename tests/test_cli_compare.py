"""`twinserve compare` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twinserve import main

SMALL = """
model: llama-3.1-8b
fleet: {{gpu: h200, gpus: 4}}
workload:
  - name: chat
    trace: azure-2023-conv
    rate: 60/s
    slo_mix:
      - {{share: 40%, tier: premium, slo: {{ttft: 200ms, tpot: 15ms}}}}
      - {{share: 60%, tier: standard, slo: {{ttft: 1s, tpot: 30ms}}}}
policy: {{router: {router}}}
duration: 20s
seed: 3
"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", *(str(a) for a in arguments), "--jobs", "1"])


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.format(router="least-loaded"))
    return path


def test_the_verdict_comes_first_and_all_fits_in_80_columns(scenario: Path) -> None:
    result = call(scenario, "--vary", "policy.router=least-loaded,random", "--seeds", 3)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith("random attains ")
    assert "points less than least-loaded" in " ".join(lines[:2])
    assert all(len(line) <= 80 for line in lines)
    for words in (
        "all requests",
        "tier premium",
        "tier standard",
        "TTFT p99",
        "TPOT mean",
        "B worse",
        "Read with care:",
        "e0 in A",
    ):
        assert words in result.stdout


def test_an_arm_against_itself_is_no_difference(scenario: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.yaml"
    twin.write_text(scenario.read_text())
    result = call(scenario, twin, "--seeds", 1)
    assert result.stdout.startswith("No difference: both arms gave the same figures, to the last digit.\n")
    assert "every request went to the same engine" in result.stdout


def test_two_files_are_named_after_themselves(scenario: Path, tmp_path: Path) -> None:
    other = tmp_path / "random.yaml"
    other.write_text(SMALL.format(router="random"))
    answer = json.loads(call(scenario, other, "--seeds", 2, "--json").stdout)
    assert answer["names"] == ["small", "random"]
    assert answer["seeds"] == [3, 4]


def test_json_is_one_object_with_differences_words_and_divergences(scenario: Path) -> None:
    answer = json.loads(call(scenario, "--vary", "fleet.gpus=4,6", "--seeds", 2, "--seed", 11, "--json").stdout)
    assert answer.keys() >= {"verdict", "names", "seeds", "groups", "notes", "multiplicity", "divergences", "warnings"}
    assert answer["seeds"] == [11, 12]
    found = answer["groups"]["all"]["tpot_s.mean"]
    assert found["lo"] < found["difference"] < found["hi"] < 0
    assert found["words"].startswith("TPOT mean is ")
    assert found["words"].endswith("shorter")
    assert answer["groups"]["all"]["gpu_s"]["difference"] == pytest.approx(40.0)
    assert answer["divergences"][0]["a"]["engine"] != answer["divergences"][0]["b"]["engine"]


def test_the_answer_is_the_same_every_time(scenario: Path) -> None:
    runs = {call(scenario, "--vary", "policy.router=vllm,random", "--seeds", 2).stdout for _ in range(2)}
    assert len(runs) == 1


def test_records_stay_where_asked_and_nothing_else_is_overwritten(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call(scenario, "--vary", "fleet.gpus=4,5", "--seeds", 1, "--out", out).exit_code == 0
    assert (out / "a-3" / "manifest.json").is_file()
    (out / "b-3").rename(tmp_path / "elsewhere")
    (out / "b-3").mkdir()
    (out / "b-3" / "thesis.txt").write_text("mine")
    result = call(scenario, "--vary", "fleet.gpus=4,5", "--seeds", 1, "--out", out)
    assert result.exit_code == 2
    assert "will not be overwritten" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "two scenario files, or one file and --vary"),
        (["--vary", "policy.router=vllm"], "does not name two values"),
        (["--vary", "policy.router=vllm,vlm"], "did you mean"),
        (["--vary", "workload.chat.trace=azure-2023-conv,azure-2023-code", "--seeds", "1"], "cannot be paired"),
        (["none.yaml"], "no such file"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_code_2(scenario: Path, arguments: list[str], words: str) -> None:
    result = call(scenario, *arguments)
    assert result.exit_code == 2
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())
    assert words in result.stderr
    assert result.stdout == ""


def test_help_fits_one_screen() -> None:
    result = CliRunner().invoke(main, ["compare", "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 30
