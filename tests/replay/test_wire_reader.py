"""The run's end of the wire: states as they come, and what an engine logged."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from replay.journal import Journal, Step
from replay.request import Request
from replay.wire import Left
from replay.wire_reader import StateSocket, collect
from traces.workload import RequestClass


def step(number: int, start_s: float, end_s: float) -> dict[str, Any]:
    return {"kind": "step", "row": Step(number, start_s, end_s, 10, 50.0, 1, 0, 0, 0, 1, 0, 32)}


def log(path: Path, *messages: dict[str, Any], torn: str = "") -> Path:
    path.write_text("".join(json.dumps(message) + "\n" for message in messages) + torn)
    return path


def test_a_log_becomes_steps_requests_faults_and_decisions(tmp_path: Path) -> None:
    request, journal = Request(3, RequestClass(), 0, 0.5, 10, 2), Journal()
    path = log(
        tmp_path / "e1.jsonl",
        step(0, 0.6, 0.7),
        {"kind": "request", "row": Left(3, 0.6, 32, 1, 4, 2)},
        {"kind": "fault", "text": "batcher x raised"},
        {"kind": "decision", "entry": {"point": "batcher"}},
    )
    assert collect(path, 1, journal, {3: request}) == [{"point": "batcher"}]
    assert journal.step_rows()["engine"].tolist() == [1]
    assert (request.first_scheduled_s, request.cached_tokens, request.preemptions) == (0.6, 32, 1)
    assert (request.drafted_tokens, request.accepted_tokens) == (4, 2)
    assert journal.faults == {"e1: batcher x raised": 1}


def test_what_came_before_the_run_is_left_out(tmp_path: Path) -> None:
    journal = Journal()
    path = log(
        tmp_path / "e0.jsonl", step(0, -9.0, -8.9), {"kind": "request", "row": Left(-1, -9.0, 0, 0, 0, 0)}, step(1, -0.1, 0.2)
    )
    collect(path, 0, journal, {})
    rows = journal.step_rows()
    assert rows["step"].tolist() == [1]
    assert rows["start_s"].tolist() == [0.0]


def test_a_log_that_its_engine_did_not_finish_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    journal = Journal()
    collect(log(tmp_path / "e0.jsonl", step(0, 0.1, 0.2), torn='{"kind": "st'), 0, journal, {})
    assert len(journal.step_rows()) == 1
    assert collect(tmp_path / "never-started.jsonl", 0, journal, {}) == []


class Told:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def told_state(self, message: dict[str, Any]) -> None:
        self.steps.append(message["step"])


def test_only_the_newest_state_of_the_run_is_told(tmp_path: Path) -> None:
    def send(step: int, as_of_s: float, engine: str = "e0") -> None:
        message = {"kind": "state", "engine": engine, "step": step, "as_of_s": as_of_s}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plug:
            plug.sendto(json.dumps(message).encode(), str(tmp_path / "state"))

    async def run() -> list[int]:
        state, engine = StateSocket(tmp_path / "state"), Told()
        send(1, 5.0)
        state.listen({"e0": engine})  # type: ignore[dict-item]
        send(2, -3.0)
        await asyncio.sleep(0.02)
        send(3, 1.0)
        send(4, 1.1)
        send(9, 1.1, "e7")
        await asyncio.sleep(0.02)
        state.close()
        return engine.steps

    assert asyncio.run(run()) == [4]
