"""`twinserve replay` and `twinserve shadow` as their users call them, against fake servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.replay.fake_server import Behaviour
from tests.replay.hosting import hosted
from tests.replay.test_live import scenario
from traces.record import Record


def written(folder: Path, urls: list[str], **over: object) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(scenario(urls, **over).model_dump(mode="json", by_alias=True, exclude_none=True)))  # type: ignore[arg-type]
    return path


def twinserve(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "twinserve", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_leaves_a_partial_record_and_says_so(tmp_path: Path) -> None:
    with hosted(Behaviour(tpot_s=0.05)) as host:
        process = twinserve("replay", str(written(tmp_path, host.urls, seconds=120.0)), "--out", str(tmp_path / "record"))
        deadline = time.monotonic() + 60
        while len(host.servers[0].seen) < 40 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        shown, complaints = process.communicate(timeout=60)
        sent = len(host.servers[0].seen)
    assert process.returncode == 1, complaints
    assert "interrupted" in shown
    record = Record.read(tmp_path / "record")
    assert record.partial
    assert len(record.requests) == sent
    assert "Traceback" not in complaints


def test_a_shadow_prints_decisions_and_a_summary(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    log.touch()
    with hosted(Behaviour(), Behaviour()) as host:
        process = twinserve("shadow", str(written(tmp_path, host.urls)), "--log", str(log), "--for", "6s", "--json")
        for _ in range(50):
            time.sleep(0.1)
            with log.open("a") as file:
                file.write('{"prompt_tokens": 50}\n')
        shown, complaints = process.communicate(timeout=60)
        assert host.servers[0].seen == host.servers[1].seen == []
    assert process.returncode == 0, complaints
    *decisions, summary = map(json.loads, shown.splitlines())
    assert summary["requests"] == len(decisions) > 0
    assert {one["engine"] for one in decisions} <= {"e0", "e1"}
