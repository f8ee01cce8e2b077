"""A run by the wall clock against fake servers: every request ends in the record with an outcome, whatever the servers do."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from policies.decisions import Assign
from policies.types import FleetView, RequestView
from replay.run import replay
from tests.replay.fake_server import Behaviour
from tests.replay.hosting import Host, hosted
from traces.errors import InputError
from traces.record import Record
from traces.scenario import Scenario

KEY = "sk-very-secret"


def scenario(urls: list[str], rate: int = 100, seconds: float = 1.0, **over: object) -> Scenario:
    replay_part = {"engines": "attached", "urls": urls, **over.pop("replay", {})}  # type: ignore[dict-item]
    document = {
        "model": "llama-3.1-8b",
        "fleet": {"gpu": "h200", "gpus": len(urls)},
        "workload": [
            {
                "name": "chat",
                "trace": {"prompt_tokens": 40, "output_tokens": 8},
                "rate": f"{rate}/s",
                "arrivals": "even",
                "slo": {"ttft": "1s", "tpot": "100ms"},
            }
        ],
        "policy": {"router": "round-robin", "batcher": "vllm"},
        "duration": seconds,
        "drain": 5,
        "replay": replay_part,
        **over,
    }
    return Scenario.model_validate(yaml.safe_load(yaml.safe_dump(document)))


def outcomes(record: Record) -> Counter[str]:
    return Counter(record.requests.column("outcome").to_pylist())


def offered(record: Record) -> int:
    return len(record.requests)


def test_a_run_on_sound_servers_completes_and_says_how_late_it_sent() -> None:
    with hosted(Behaviour(), Behaviour()) as host:
        record = replay(scenario(host.urls))
    assert outcomes(record) == {"completed": offered(record)}
    assert offered(record) == len(host.servers[0].seen) + len(host.servers[1].seen)
    assert set(record.requests.column("engine").to_pylist()) == {"e0", "e1"}
    assert record.manifest["world"] == "replay"
    assert record.manifest["mode"] == "attached"
    assert set(record.manifest["dispatch_lag_s"]) == {"p50", "p99", "max"}
    assert record.manifest["engines"]["e0"]["kv_tokens_capacity"] == 32_000
    times = record.requests.to_pandas()
    assert (times.arrival_s >= times.intended_arrival_s).all()
    assert (times.ttft_s > 0).all()
    assert (times.output_tokens == 8).all()


def test_the_record_is_read_back_and_summarised(tmp_path: Path) -> None:
    from traces.metrics import summarise

    with hosted(Behaviour()) as host:
        replay(scenario(host.urls, rate=50)).write(tmp_path / "record")
    summary = summarise(Record.read(tmp_path / "record"))
    assert summary.metrics["attainment"].value == 1.0


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(status=429, complaint='{"error": {"message": "slow down"}}'), "HTTP 429: slow down"),
        (Behaviour(status=500), "HTTP 500"),
        (Behaviour(cut_after=3), "connection lost"),
        (Behaviour(break_after=3), "the server broke off: EngineCore"),
        (Behaviour(stop_after=5), "the server ended it after 5 of 8 tokens"),
    ],
)
def test_requests_that_a_server_does_not_serve_fail_with_its_reason(behaviour: Behaviour, reason: str) -> None:
    with hosted(behaviour, Behaviour()) as host:
        record = replay(scenario(host.urls))
    found = outcomes(record)
    assert found["failed"] == len(host.servers[0].seen)
    assert found["completed"] == len(host.servers[1].seen)
    assert found.total() == offered(record)
    assert any(f"failed: {reason}" in warning for warning in record.manifest["warnings"])


def test_a_server_that_dies_fails_its_requests_and_gets_no_more() -> None:
    with hosted(Behaviour(tpot_s=0.05), Behaviour()) as host:
        host.after(1.2, host.servers[0].stop())
        record = replay(scenario(host.urls, seconds=4.0, sim={"observe": "50ms"}))
    found = outcomes(record)
    assert found.total() == offered(record)
    assert found["failed"] > 0
    rows = record.requests.to_pandas()
    assert rows[rows.arrival_s > 2.5].engine.astype(str).eq("e1").all()
    states = record.fleet.to_pandas()
    assert "failed" in set(states[states.engine.astype(str) == "e0"].state.astype(str))


def test_a_server_that_hangs_costs_its_requests_and_no_others() -> None:
    with hosted(Behaviour(), Behaviour()) as host:

        async def hang() -> None:
            host.servers[0].behaviour.hang = True

        host.after(1.0, hang())
        record = replay(scenario(host.urls, seconds=1.5, replay={"silence": "500ms"}))
    found = outcomes(record)
    assert found.total() == offered(record)
    assert found["failed"] > 0
    assert any("no answer for 0.5 s" in warning for warning in record.manifest["warnings"])
    rows = record.requests.to_pandas()
    assert (rows[rows.engine.astype(str) == "e1"].outcome.astype(str) == "completed").all()


def test_a_slow_stream_is_unfinished_at_the_end() -> None:
    with hosted(Behaviour(tpot_s=5.0)) as host:
        record = replay(scenario(host.urls, rate=20, drain=0.5))
        deadline = time.monotonic() + 5
        while host.servers[0].open and time.monotonic() < deadline:
            time.sleep(0.01)
        assert host.servers[0].open == 0, "the server is told that nobody waits any more"
    assert outcomes(record) == {"unfinished": offered(record)}


def test_an_interruption_leaves_a_whole_record_of_what_was() -> None:
    with hosted(Behaviour(tpot_s=0.05)) as host:
        threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        record = replay(scenario(host.urls, seconds=60.0))
        assert time.monotonic() - began < 30
    assert record.partial
    found = outcomes(record)
    assert found.total() == offered(record) == len(host.servers[0].seen)
    assert found["completed"] > 0
    assert found["unfinished"] > 0
    assert any("interrupted" in text for text in record.manifest["warnings"])


def test_a_server_that_is_not_there_is_an_error_before_anything_is_sent() -> None:
    with hosted(Behaviour()) as host:
        pass
    with pytest.raises(InputError, match=r"replay\.urls: http://127\.0\.0\.1:\d+ does not answer"):
        replay(scenario(host.urls))


def test_as_many_servers_as_engines() -> None:
    one_too_few = scenario(["http://127.0.0.1:1"]).model_copy(update={"declared": scenario(["http://x", "http://y"]).declared})
    with pytest.raises(InputError, match="names 1 servers for a fleet of 2 engines"):
        replay(one_too_few)


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    with hosted(Behaviour(status=401, complaint=f'{{"error": {{"message": "wrong key {KEY}"}}}}')) as host:
        record = replay(scenario(host.urls, rate=20, replay={"api_key_env": "SERVER_KEY"}, decisions="full"))
    assert f"Bearer {KEY}" in str(host.servers[0].seen[0]["_head"])
    record.write(tmp_path / "record")
    written = b"".join(path.read_bytes() for path in (tmp_path / "record").iterdir())
    assert KEY.encode() not in written
    assert b"wrong key ***" in written


def test_a_key_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVER_KEY", raising=False)
    with pytest.raises(InputError, match="the environment variable SERVER_KEY is not set"):
        replay(scenario(["http://127.0.0.1:1"], replay={"api_key_env": "SERVER_KEY"}))


class Astray:
    """A router that goes astray when it has seen a few requests."""

    def __init__(self) -> None:
        self._seen = 0

    def route(self, request: RequestView, fleet: FleetView) -> Assign:
        self._seen += 1
        return Assign("e0" if self._seen < 30 else "e9", "astray")


def test_an_illegal_decision_ends_the_run_whenever_it_is_made(host_one: Host) -> None:
    astray = {"router": "tests.replay.test_live:Astray", "batcher": "vllm"}
    with pytest.raises(InputError, match="assigned request 29 to 'e9'"):
        replay(scenario(host_one.urls, seconds=5.0, policy=astray))


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no scheduling classes on this system")
@pytest.mark.parametrize("allowed", [True, False])
def test_the_scheduling_class_is_as_before_after_a_run(host_one: Host, monkeypatch: pytest.MonkeyPatch, allowed: bool) -> None:
    before = os.sched_getscheduler(0)
    if not allowed:

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "sched_setscheduler", refuse)
    record = replay(scenario(host_one.urls, rate=20, seconds=0.5))
    assert outcomes(record) == {"completed": offered(record)}
    assert os.sched_getscheduler(0) == before


def test_closed_loops_keep_their_width(host_one: Host) -> None:
    closed = scenario(host_one.urls)
    entry = {"name": "loop", "trace": {"prompt_tokens": 40, "output_tokens": 8}, "load": {"concurrency": 4}, "requests": 40}
    document = closed.model_dump(mode="json", by_alias=True, exclude_none=True) | {"workload": [entry]}
    del document["duration"], document["drain"]
    record = replay(Scenario.model_validate(document))
    assert outcomes(record) == {"completed": 40}
    rows = record.requests.to_pandas()
    ends = rows.arrival_s + rows.e2e_s
    assert max(((rows.arrival_s <= t) & (ends > t)).sum() for t in rows.arrival_s) <= 4


@pytest.fixture
def host_one() -> object:
    with hosted(Behaviour()) as host:
        yield host
