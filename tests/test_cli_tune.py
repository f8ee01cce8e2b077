"""`twinserve tune` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twinserve import main

TEXT = """
model: llama-3.1-8b
fleet: {gpu: l40s, gpus: 2}
engine: {max_model_len: 4096, max_num_seqs: 16}
workload: [{name: a, trace: {prompt_tokens: 500, output_tokens: 40}, rate: 40/s, requests: 80, slo: {ttft: 2s, tpot: 60ms}}]
seed: 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.yaml"
    file.write_text(TEXT)
    return file


def tune(path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["tune", str(path), "--retests", "1", *words])


def test_a_study_tells_what_to_change_and_exits_0_when_it_held(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "study.json"
    done = tune(path, "--objective", "p95-latency", "--trials", "13", "--out", str(out), "--storage", str(tmp_path / "study.db"))
    assert done.exit_code == 0, done.output
    assert "Better than the default." in done.stdout
    assert "--set engine.max_num_seqs=" in done.stdout
    told = json.loads(out.read_text())
    assert len(told["trials"]) == 13
    assert told["best"]["holds"]
    again = tune(path, "--objective", "p95-latency", "--trials", "13", "--storage", str(tmp_path / "study.db"), "--json")
    assert json.loads(again.stdout)["resumed"] == 13
    assert json.loads(again.stdout)["trials"] == told["trials"]
    warm = tune(path, "--objective", "p95-latency", "--trials", "3", "--warm-start", str(tmp_path / "study.db"), "--json")
    assert json.loads(warm.stdout)["trials"][1]["config"] == told["best"]["config"]


def test_several_objectives_show_what_is_not_beaten_and_two_workers_do_as_well(path: Path) -> None:
    done = tune(path, "--objective", "ttft+tpot", "--trials", "5", "--sampler", "random", "--parallel", "2")
    assert "Not beaten in all objectives" in done.stdout
    assert "TTFT mean" in done.stdout


def test_a_canary_study_begins_next_to_the_default_and_tells_its_band(path: Path) -> None:
    done = tune(path, "--objective", "p95-latency", "--trials", "5", "--canary", "10%", "--json")
    told = json.loads(done.stdout)
    assert told["canary"]["share"] == 0.1
    configs = [trial["config"] for trial in told["trials"]]
    assert 1 <= sum(configs[1][knob] != value for knob, value in configs[0].items()) <= 2  # a repair may move a second one
    assert set(told["canary"]["left"]) <= set(range(5))


def test_a_study_that_finds_nothing_better_says_so_and_exits_1(path: Path) -> None:
    done = tune(path, "--objective", "throughput", "--trials", "2", "--sampler", "random", "--bound", "max_num_seqs=16")
    assert done.exit_code == 1
    assert "Keep the default" in done.stdout or "do not change yet" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--objective", "speed"], "--objective speed: there is none"),
        (["--sampler", "grid"], "--sampler grid: there is none"),
        (["--bound", "max_num_seqs=1..2"], "nothing between 1 and 2"),
        (["--canary", "10%", "--sampler", "tpe"], "--canary: is a mode of the sampler scoot"),
        (["--parallel", "9", "--trials", "4"], "--parallel 9: is more than 4 --trials"),
        (["--warm-start", "none.db"], "none.db: no such file"),
        (["--also", "num_speculative_tokens"], "the scenario tells no drafts"),
        (["--sampler", "auto-tune", "--objective", "ttft+tpot"], "makes one quantity large"),
        (["--world", "replay", "--set", "replay.engines=virtual"], "have no speed of their own"),
        (["--set", "fleet.gpu=h2000"], "GPU `h2000` is not known"),
        (["--objective", "goodput", "--set", "workload.a.slo=null"], "need an slo"),
    ],
)
def test_nonsense_is_refused_in_one_line(path: Path, words: list[str], said: str) -> None:
    done = tune(path, "--trials", "4", *words) if "--trials" not in words else tune(path, *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
