"""What goes to an engine's plug-in and comes back, across processes."""

from __future__ import annotations

import json
from pathlib import Path

from policies.types import SLO
from policies.views import Engine, Request
from replay.journal import Step
from replay.report import FileReport
from replay.wire import MOST_ROWS, Left, Settings, Told, left_of, read_log, seen_of, state_message, step_of, told


def test_what_a_server_may_know_of_a_request_arrives_and_nothing_else() -> None:
    request = Request(5, "m", 100, (3, 4), "gold", True, SLO(1.0, None, 9.0), 2.5, 77.0)
    text = told(request, epoch_s=12.25)
    assert Told.read(text) == Told(5, "m", "gold", True, SLO(1.0, None, 9.0), 2.5, 77.0, (3, 4), 12.25)
    assert "output_tokens" not in json.loads(text).keys() - {"expected_output_tokens"}


def test_strangers_have_ids_below_zero() -> None:
    assert [Told.stranger(number, "m", 0.0).id for number in (1, 2)] == [-1, -2]


def test_settings_survive_json() -> None:
    settings = Settings("e3", 3, "m", "sarathi", {"chunk_tokens": 64}, acceptance=(0.5,), fingerprint={"a": 1}, deadline_s=0.1)
    again = Settings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again.to_dict() == json.loads(json.dumps(settings.to_dict()))
    assert again.params == {"chunk_tokens": 64}


def test_a_state_message_stays_small_enough_for_a_datagram() -> None:
    many = tuple(Request(id, prefilled_tokens=100_000, generated_tokens=5_000, first_token_s=1234.56789) for id in range(5000))
    message = state_message(Engine(running=many[:1024], waiting=many, running_count=1024, waiting_count=5000))
    data = json.loads(message)
    assert len(message) < 200_000
    assert data["waiting_count"] == 5000
    assert len(data["running"]) == 1024
    assert len(data["running"]) + len(data["waiting"]) == MOST_ROWS
    assert seen_of(data["running"])[7].id == 7


def test_a_log_is_read_up_to_where_its_writer_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    report = FileReport(Settings("e0", 0, "m", log=str(path), decisions="summary"))
    step, left = Step(0, 0.0, 1.0, 5, 12.5, 1, 0, 0, 0, 1, 0, 16), Left(4, 0.25, 16, 1, 8, 3)
    report.step(step)
    report.left(left)
    report.fault("oh")
    report.close()
    with path.open("a") as file:
        file.write('{"kind": "st')
    messages = list(read_log(path))
    assert [message["kind"] for message in messages] == ["step", "request", "fault"]
    assert (step_of(messages[0]), left_of(messages[1])) == (step, left)
