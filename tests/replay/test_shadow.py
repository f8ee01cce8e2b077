"""A shadow reads, decides, tells, and touches nothing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest

from replay.client import Client, completion
from replay.shadow import Shadowed, shadow
from tests.replay.fake_server import Behaviour
from tests.replay.hosting import Host, hosted
from tests.replay.test_client import Heard
from tests.replay.test_live import scenario
from traces.errors import InputError


async def ask(url: str, count: int) -> None:
    """Somebody else's requests."""
    client = Client(url, time.monotonic)
    heard = [Heard() for _ in range(count)]
    for one in heard:
        client.send(completion("m", [17] * 20, 3), one)
    await asyncio.gather(*(one.over.wait() for one in heard))
    client.close()


def watched(host: Host, *, log: Path | None = None, seconds: float = 1.5) -> list[Shadowed]:
    found: list[Shadowed] = []
    shadow(scenario(host.urls, sim={"observe": "50ms"}), found.append, seconds=seconds, log=log)
    return found


def test_arrivals_are_seen_in_the_servers_counters_and_decided_on() -> None:
    with hosted(Behaviour(), Behaviour()) as host:
        host.after(0.6, ask(host.urls[1], 6))
        found = watched(host)
        assert len(host.servers[0].seen) == 0
        assert len(host.servers[1].seen) == 6, "somebody else's, and none of ours"
    assert [one.actual for one in found] == ["e1"] * 6
    assert [one.would for one in found] == ["e0", "e1"] * 3, "round robin"
    assert {one.prompt_tokens for one in found} == {20}


def test_arrivals_are_read_from_a_log_as_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    log.write_text('{"prompt_tokens": 1}\n')

    def append() -> None:
        with log.open("a") as file:
            file.write(json.dumps({"prompt_tokens": 100}) + "\n" + '{"prompt_tok')
            file.flush()
            time.sleep(0.2)
            file.write('ens": 200, "class": "chat"}\n')

    writer = threading.Timer(0.5, append)
    with hosted(Behaviour(), Behaviour()) as host:
        writer.start()
        found = watched(host, log=log)
    assert [(one.prompt_tokens, one.would, one.actual) for one in found] == [(100, "e0", None), (200, "e1", None)]


@pytest.mark.parametrize(
    ("line", "fault"),
    [("not json", "is not JSON"), ("{}", "has no `prompt_tokens`"), ('{"prompt_tokens": 5, "class": "x"}', "class 'x'")],
)
def test_a_line_that_is_no_request_is_told(tmp_path: Path, line: str, fault: str) -> None:
    log = tmp_path / "requests.jsonl"
    log.touch()
    threading.Timer(0.3, lambda: log.write_text(line + "\n")).start()
    with hosted(Behaviour()) as host, pytest.raises(InputError, match=fault):
        watched(host, log=log, seconds=5)


def test_servers_that_are_not_vllm_cannot_be_watched() -> None:
    with hosted(Behaviour(metrics="go_goroutines 12\n")) as host, pytest.raises(InputError, match="not that of a vLLM server"):
        watched(host)


def test_a_shadow_needs_servers() -> None:
    managed = scenario([], fleet={"gpu": "h200", "gpus": 1}, replay={"engines": "managed"})
    with pytest.raises(InputError, match="a shadow watches servers that are there"):
        shadow(managed, lambda _: None)
