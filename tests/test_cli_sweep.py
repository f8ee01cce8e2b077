"""`twinserve sweep` and `twinserve search` as a user meets them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from twinserve import main

ROOT = Path(__file__).resolve().parents[1]
SMALL = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload:
  - name: chat
    trace: azure-2023-conv
    rate: 4/s
    requests: 100
    slo_mix: [{share: 50%, tier: fast, slo: {ttft: 300ms, tpot: 15ms}}, {share: 50%, tier: slow, slo: {ttft: 1s, tpot: 30ms}}]
seed: 7
"""
VARY = ("--vary", "workload.chat.rate=4/s..60/s:3", "--vary", "policy.router=random,least-loaded")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)


def test_a_sweep_prints_a_table_of_80_columns_and_writes_parquet() -> None:
    result = call("sweep", "small.yaml", *VARY, "--seeds", 2, "--jobs", 1, "--out", "out/sweep.parquet")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "6 points × 2 seeds; 95 % intervals"
    assert lines[1].split() == ["rate", "router", "attainment", "goodput", "TTFT", "p99", "TPOT", "p99"]
    assert sum(line.lstrip().startswith("4/s") for line in lines) == 2
    assert all(len(line) <= 80 for line in lines)
    frame = pd.read_parquet("out/sweep.parquet")
    assert frame["point"].nunique() == 12
    assert {"all", "fast", "slow"} == set(frame["group"])


def test_the_second_time_comes_from_the_cache_and_looks_the_same() -> None:
    first = call("sweep", "small.yaml", *VARY, "--jobs", 1)
    files = {path: path.stat().st_mtime_ns for path in Path(".twinserve/cache").rglob("*.zst")}
    assert len(files) == 6
    second = call("sweep", "small.yaml", *VARY, "--jobs", 1)
    assert second.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in Path(".twinserve/cache").rglob("*.zst")} == files


def test_without_a_cache_nothing_is_left_behind() -> None:
    assert call("sweep", "small.yaml", "--seeds", 2, "--no-cache", "--jobs", 1).exit_code == 0
    assert not Path(".twinserve").exists()


def test_json_is_one_object_with_all_points() -> None:
    answer = json.loads(call("sweep", "small.yaml", "--vary", "fleet.gpus=1,2,0", "--jobs", 1, "--json").stdout)
    assert answer["scenario"] == "small"
    assert answer["axes"] == ["fleet.gpus"]
    assert [point["set"] for point in answer["points"]] == [{"fleet.gpus": 1}, {"fleet.gpus": 2}, {"fleet.gpus": 0}]
    assert answer["points"][0]["seed"] == 7
    assert answer["points"][0]["tiers"]["fast"]["attainment"] is not None
    assert answer["points"][2]["faults"] == ["--set fleet.gpus: is `0`; it must be at least 1"]


def test_points_that_fail_are_told_at_the_end_and_in_the_exit_code() -> None:
    result = call("sweep", "small.yaml", "--vary", "fleet.gpus=1,0", "--seeds", 2, "--jobs", 1)
    assert result.exit_code == 1
    assert result.stderr == "error: 2 of 4 points: --set fleet.gpus: is `0`; it must be at least 1\n"
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows if "failed" in row] == ["0"]


def test_columns_can_be_chosen_also_of_one_tier() -> None:
    result = call("sweep", "small.yaml", "--seeds", 2, "--jobs", 1, "--metric", "ttft_s.p50@fast", "--metric", "busy")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].split() == ["TTFT", "p50", "fast", "busy"]
    wrong = call("sweep", "small.yaml", "--seeds", 2, "--metric", "ttft_p50")
    assert wrong.exit_code == 2
    assert "did you mean `ttft_s.p50`?" in wrong.stderr
    assert "there is no tier `quick`" in call("sweep", "small.yaml", "--seeds", 2, "--jobs", 1, "--metric", "busy@quick").stderr


def test_the_scenario_may_hold_its_sweep() -> None:
    Path("small.yaml").write_text(SMALL + "sweep: {vary: {workload.chat.rate: [4/s, 8/s]}, seeds: 2}\n")
    assert "2 points × 2 seeds" in call("sweep", "small.yaml", "--jobs", 1).stdout
    assert call("run", "small.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("sweep", "small.yaml"), "nothing is varied"),
        (("sweep", "small.yaml", "--vary", "a"), "names no values"),
        (("sweep", "none.yaml", "--seeds", "2"), "no such file"),
        (("sweep", "small.yaml", "--seeds", "2", "--backend", "spark"), "use one of loky, threads, dask, ray"),
        (("search", "small.yaml"), "needs one field"),
        (("search", "small.yaml", "--highest", "a=1..2", "--lowest", "a=1..2"), "needs one field"),
        (("search", "small.yaml", "--highest", "workload.chat.rate=4/s"), "names no bracket"),
        (("search", "small.yaml", "--highest", "workload.chat.rat=4..8", "--jobs", "1"), "did you mean `rate`"),
        (("search", "small.yaml", "--highest", "workload.chat.rate=4..8", "--goal", "speed>1"), "there is no metric"),
    ],
)
def test_faults_are_one_line_with_exit_code_2(arguments: tuple[str, ...], fault: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert fault in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_search_answers_in_a_sentence_with_its_probes() -> None:
    result = call(
        "search", "small.yaml", "--lowest", "fleet.gpus=1..16", "--set", "workload.chat.rate=60/s", "--seeds", 4, "--jobs", 1
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Found")
    assert "Lowest fleet.gpus with attainment ≥ 90 %:" in result.stdout.replace("\n", " ")
    assert "held" in result.stdout
    assert "missed" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_an_answer_outside_the_bracket_is_no_success() -> None:
    result = call(
        "search", "small.yaml", "--highest", "workload.chat.rate=1/s..2/s", "--goal", "attainment>=50%", "--jobs", 1, "--json"
    )
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (answer["outside"], answer["value"], answer["lo"]) == ("above", None, 2.0)
    assert [probe["verdict"] for probe in answer["trail"]] == ["held", "held"]


def test_ctrl_c_stops_at_once_and_keeps_what_is_done() -> None:
    """On a terminal, where SIGINT reaches the workers too, and a live table is shown."""
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "twinserve", "sweep", "small.yaml", "--seeds", "500", "--jobs", "2"]
    command += ["--set", "workload.chat.requests=3000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True, env=environment)
    os.close(theirs)
    shown = b""
    try:
        deadline = time.monotonic() + 60
        while len(list(Path(".twinserve").rglob("*.zst"))) < 4 and time.monotonic() < deadline:
            shown += os.read(terminal, 65536)
        os.killpg(process.pid, signal.SIGINT)
        shown += _rest(terminal)
        assert process.wait(timeout=30) == 130
        kept = len(list(Path(".twinserve").rglob("*.zst")))
        assert _all_gone(process.pid)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    text = shown.decode()
    assert "of 500 points" in text
    assert "ETA" in text
    assert "interrupted: what is done is cached; the same command goes on from there" in text
    assert "Traceback" not in text
    assert 4 <= kept < 500


def _all_gone(group: int) -> bool:
    """Whether no worker outlives the command for long."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _rest(terminal: int) -> bytes:
    text = b""
    while True:
        try:
            text += os.read(terminal, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            return text
