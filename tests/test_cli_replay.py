"""The verbs of replayed runs, as far as they go without vLLM."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from traces.errors import InputError
from traces.record import Record
from traces.scenario import Scenario, load_scenario
from twinserve import main

SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload: [{name: chat, trace: {prompt_tokens: 300, output_tokens: 20}, rate: 20/s, requests: 20}]
policy: {router: power-of-two}
decisions: full
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    return path


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.output


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_a_replay_says_what_to_install(scenario: Path) -> None:
    code, output = run("replay", scenario)
    assert code == 2
    assert output.count("\n") == 1
    assert "needs vLLM, which is not installed" in output


@pytest.mark.parametrize("words", [(), ("--set", "replay.engines=in-process"), ("--set", "replay={engines: virtual}", "--seed", 3)])
def test_managed_starts_servers_whatever_the_scenario_says(
    scenario: Path, words: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Scenario] = []

    def refused(of: Scenario, _: object) -> Record:
        asked.append(of)
        raise InputError("no farther")

    monkeypatch.setattr("replay.run.replay", refused)
    scenario.write_text(f"{SCENARIO}replay: {{engines: virtual, shape: tiny}}\n")
    assert run("replay", scenario, *words, "--managed") == (2, "error: no farther\n")
    assert asked[0].replay is not None
    assert asked[0].replay.engines == "managed"
    assert asked[0].seed == (3 if "--seed" in words else load_scenario(scenario).seed)


def test_managed_servers_are_not_held_against_the_simulator(scenario: Path) -> None:
    code, output = run("replay", scenario, "--managed", "--set", "replay.engines=virtual", "--against-sim")
    assert (code, output.count("\n")) == (2, 1)
    assert "only virtual engines" in output


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("replay.engines=real", "replay.engines"),
        ("replay={engines: attached}", "names no server"),
        ("replay={engines: managed, clock: core}", "write `engines: in-process`"),
        ("replay.urls=[http://a:1]", "is for attached servers"),
        ("replay={engines: attached, urls: ['http://key@host:1']}", "not the URL of a server"),
        ("replay.api_key_env=sk-123", "never the key itself"),
    ],
)
def test_a_wrong_replay_part_is_one_line(scenario: Path, setting: str, words: str) -> None:
    code, output = run("replay", scenario, "--set", setting)
    assert (code, output.count("\n")) == (2, 1)
    assert words in output


@pytest.mark.parametrize(
    ("setting", "engines", "words"),
    [
        ("fleet=[{gpu: h200, gpus: 1, role: prefill}, {gpu: h200, gpus: 1, role: decode}]", "virtual", "engines have no KV"),
        ("fleet={gpu: h200, gpus: 2, pipeline_parallel: 2}", "in-process", "engines have one pipeline stage"),
    ],
)
def test_what_a_replay_does_not_do_is_not_passed_over(scenario: Path, setting: str, engines: str, words: str) -> None:
    code, output = run("replay", scenario, "--set", setting, "--set", "duration=1s", "--set", f"replay.engines={engines}")
    assert code == 2
    assert words in output


def test_only_virtual_engines_are_held_against_the_simulator(scenario: Path) -> None:
    code, output = run("replay", scenario, "--against-sim")
    assert code == 2
    assert "add --set replay.engines=virtual" in output


def test_recheck_decides_again(scenario: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    assert run("run", scenario, "--out", record, "--quiet")[0] == 0
    code, output = run("policies", "recheck", record)
    assert code == 0
    assert "the same:" in output
    found = json.loads(run("policies", "recheck", record, "--json")[1])
    assert found["same"] is True
    assert found["decisions"] > 20


def test_recheck_finds_the_decision_that_was_changed(scenario: Path, tmp_path: Path) -> None:
    assert run("run", scenario, "--out", tmp_path / "record", "--quiet")[0] == 0
    record = Record.read(tmp_path / "record")
    log = [dict(entry) for entry in record.decisions or ()]
    routed = next(entry for entry in log if entry["point"] == "router")
    routed["engine"] = "e1" if routed["engine"] == "e0" else "e0"
    Record(record.manifest, record.requests, record.steps, record.fleet, record.gaps, log).write(tmp_path / "changed")
    code, output = run("policies", "recheck", tmp_path / "changed")
    assert code == 1
    assert "NOT the same: 1 of" in output
    assert "logged" in output


def test_recheck_of_a_record_without_a_full_log_says_how_to_get_one(scenario: Path, tmp_path: Path) -> None:
    for level in ("off", "summary"):
        assert run("run", scenario, "--set", f"decisions={level}", "--out", tmp_path / level, "--quiet")[0] == 0
        code, output = run("policies", "recheck", tmp_path / level)
        assert code == 2
        assert "decisions: full" in output
