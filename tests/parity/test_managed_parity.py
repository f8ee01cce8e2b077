"""Real vLLM servers that a run starts: they serve, they are killed, they find their port taken, and nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from replay import managed
from replay.knobs import engine_arguments, environment, options
from replay.run import replay
from tests.ports import free_ports
from tests.replay.hosting import hosted
from traces.errors import InputError
from traces.scenario import Scenario
from traces.tables import floats


@pytest.fixture(autouse=True)
def _logs_go_to_a_folder_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scenario(port: int, *, output_tokens: tuple[int, int] = (2, 60), **over: Any) -> Scenario:
    shortest, longest = output_tokens
    return Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": 1},
            "engine": {
                "max_num_seqs": 16,
                "max_num_batched_tokens": 256,
                "block_size": 32,
                "max_model_len": 1024,
                "num_gpu_blocks_override": 400,
            },
            "workload": [
                {
                    "name": "chat",
                    "trace": {
                        "prompt_tokens": {"uniform": {"min": 20, "max": 400}},
                        "output_tokens": {"uniform": {"min": shortest, "max": longest}},
                    },
                    "rate": 10,
                    "slo": {"ttft": 2, "tpot": 0.2},
                }
            ],
            "policy": {"router": "least-loaded", "batcher": "vllm"},
            "duration": 4,
            "drain": 60,
            "replay": {"engines": "managed", "shape": "tiny", "port": port},
            **over,
        }
    )


def descendants(of: int) -> set[int]:
    """Processes below one, by /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found, grew = {of}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found - {of}


def named(pid: int, word: str) -> bool:
    try:
        return word in (Path("/proc") / str(pid) / "cmdline").read_text()
    except OSError:
        return False


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_on_a_server_that_is_killed_halfway_ends_with_an_outcome_for_every_request() -> None:
    seen: list[tuple[int, set[int]]] = []

    def kill() -> None:
        """Kills the server once requests are being served, as its log of steps shows."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and not seen:
            time.sleep(0.05)
            served = [pid for pid in descendants(os.getpid()) if named(pid, "replay.vllm_serve")]
            if served and progress and progress[-1] >= 15:
                below = descendants(served[0])
                os.kill(served[0], signal.SIGKILL)
                seen.append((served[0], below))

    progress: list[int] = []
    killer = threading.Thread(target=kill)
    killer.start()
    long_ones = scenario(free_ports(), output_tokens=(300, 500), duration=30)  # half a second each: some are always under way
    record = replay(long_ones, lambda p: progress.append(p.requests))
    killer.join()
    (_, below) = seen[0]
    found = Counter(record.requests.column("outcome").to_pylist())
    assert found["completed"] >= 15
    assert found["failed"] + found["unfinished"] > 0
    assert found.total() == len(record.requests)
    assert record.partial
    assert record.fleet.column("state").to_pylist() == ["active", "failed"]
    completed = record.requests.filter(
        record.requests.column("outcome").combine_chunks().dictionary_decode().to_numpy(False) == "completed"
    )
    assert not any(tokens == 0 for tokens in completed.column("output_tokens").to_pylist())
    assert len(record.steps) > 0, "the steps that were logged before are in the record"
    assert (floats(record.steps, "start_s") >= 0).all()
    deadline = time.monotonic() + 10
    while any(map(alive, below)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, below)), "its engine process does not outlive it"


def test_a_port_that_is_taken_while_the_server_starts_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        loaded = scenario(port)
        assert loaded.replay is not None
        words = options(engine_arguments(loaded.pools[0], loaded.replay, 0, tmp_path))
        server = managed.ManagedServer("e0", words, port, tmp_path / "e0.log", environment(loaded.pools, 0, loaded.replay))
        with pytest.raises(InputError, match=r"^e0: the server ended before it could serve \(exit code 1\): its port is in use"):
            asyncio.run(server.start(120))


def test_a_server_of_somebody_else_s_is_watched_through_its_metrics_and_left_alone(tmp_path: Path) -> None:
    own = scenario(port := free_ports())
    assert own.replay is not None
    words = options(engine_arguments(own.pools[0], own.replay, 0, tmp_path))
    server = managed.ManagedServer("somebody's", words, port, tmp_path / "e0.log", environment(own.pools, 0, own.replay))
    with hosted() as host:
        host.do(server.start(240), 250)
        try:
            record = replay(scenario(port, replay={"engines": "attached", "urls": [server.url], "shape": "tiny"}))
            assert host.do(managed.healthy(server.url)), "it serves on"
        finally:
            host.do(server.stop())
    assert Counter(record.requests.column("outcome").to_pylist()) == {"completed": len(record.requests)}
    assert record.manifest["engines"]["e0"]["kv_tokens_capacity"] == 401 * 32, "as the server tells it"
    assert len(record.steps) == 0
    assert (floats(record.requests, "ttft_s") > 0).all()
