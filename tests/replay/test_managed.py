"""Servers that a run starts: waited for, explained when they fail, and gone with everything they started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from replay.clock import WallClock
from replay.lifecycle import Idle
from replay.managed import ManagedServer, diagnosis, healthy, tail
from replay.power import ServerPower
from tests.ports import free_ports
from traces.errors import InputError

_SERVE = """
import asyncio, subprocess, sys
from tests.replay.fake_server import FakeServer
async def main():
    child = subprocess.Popen(["sleep", "60"])
    print("child", child.pid, flush=True)
    await FakeServer().start(int(sys.argv[1]))
    await asyncio.Event().wait()
asyncio.run(main())
"""


def server(tmp_path: Path, code: str) -> ManagedServer:
    """A stand-in for vLLM, as a process of its own."""
    made = ManagedServer("e0", [], port := free_ports(), tmp_path / "e0.log", dict(os.environ))
    made._command = [sys.executable, "-c", code, str(port)]
    return made


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def child_of(log: Path) -> int:
    """The newest one."""
    return int(next(line for line in reversed(tail(log)) if line.startswith("child")).split()[1])


def test_a_server_is_waited_for_and_stopped_with_its_children(tmp_path: Path) -> None:
    async def run() -> int:
        made = server(tmp_path, _SERVE)
        await made.start(30)
        child = child_of(made.log)
        assert alive(child)
        await made.stop()
        await made.stop()
        return child

    assert gone(asyncio.run(run()))


def test_a_server_that_was_killed_says_how_and_leaves_no_children(tmp_path: Path) -> None:
    async def run() -> tuple[str, int]:
        made = server(tmp_path, _SERVE)
        await made.start(30)
        assert made._process is not None
        os.kill(made._process.pid, signal.SIGKILL)
        how = await made.died()
        child = child_of(made.log)
        await made.stop()
        return how, child

    how, child = asyncio.run(run())
    assert how == "killed by SIGKILL"
    assert gone(child)


def test_a_server_that_ends_at_once_is_explained_by_its_log(tmp_path: Path) -> None:
    code = "raise SystemExit('torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB')"
    with pytest.raises(InputError, match=r"e0: the server ended before it could serve \(exit code 1\): .*out of memory.*; lower"):
        asyncio.run(server(tmp_path, code).start(30))


def test_a_server_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    code = "import time; print('child', __import__('os').getpid(), flush=True); time.sleep(60)"
    made = server(tmp_path, code)
    with pytest.raises(InputError, match=r"was not ready after 1 s; raise replay\.start_timeout"):
        asyncio.run(made.start(1))
    assert gone(child_of(made.log))


@pytest.mark.parametrize(
    ("line", "said", "remedy"),
    [
        ("OSError: [Errno 98] error while attempting to bind: address already in use", "its port is in use", "replay.port"),
        ("ValueError: No available memory for the cache blocks. Try increasing", "No available memory", "gpu_memory_utilization"),
        ("vllm serve: error: unrecognized arguments: --watermark 0.1", "--watermark", "does not know the option"),
        ("/usr/bin/python: No module named 'vllm'", "vLLM is not installed", "install"),
    ],
)
def test_a_log_is_read_for_its_cause(line: str, said: str, remedy: str) -> None:
    found = diagnosis(["INFO 11-21 starting", f"(EngineCore pid=7) ERROR 11-21 03:00:00 [core.py:1] {line}", "INFO bye"])
    assert said in found[0]
    assert remedy in found[1]


def test_an_unknown_cause_is_the_last_error_of_the_log() -> None:
    log = ["RuntimeError: first", "(APIServer pid=1) ERROR 11-21 03:00:00 [x.py:2] \x1b[31mValueError: the real one", "  at exit"]
    assert diagnosis(log) == ("ValueError: the real one", "")
    assert diagnosis([]) == ("it said nothing", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_server_ends_with_the_run_that_started_it_even_when_that_is_killed() -> None:
    child = (
        "from replay.vllm_serve import _end_with_parent; _end_with_parent(); print('up', flush=True); import time; time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE, start_new_session=True); "
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert alive(pid)
        run.kill()
    assert gone(pid)


def test_a_server_that_a_fault_killed_has_not_died_by_itself_and_can_be_started_again(tmp_path: Path) -> None:
    async def run() -> tuple[bool, int, int]:
        made = server(tmp_path, _SERVE)
        await made.start(30)
        death = asyncio.ensure_future(made.died())
        first = child_of(made.log)
        made.kill()
        await made.stop()
        await made.start(30)
        second = child_of(made.log)
        unnoticed = not death.done()
        await made.stop()
        death.cancel()
        return unnoticed, first, second

    unnoticed, first, second = asyncio.run(run())
    assert unnoticed
    assert gone(first)
    assert gone(second)


class _Engine:
    def __init__(self, index: int) -> None:
        self.index = index


@pytest.mark.parametrize("parked", ["stop", "idle", "sleep"])
def test_a_parked_server_does_what_the_scenario_says(parked: Any, tmp_path: Path) -> None:
    async def run() -> list[str]:
        made, clock, told = server(tmp_path, _SERVE), WallClock(), []
        engine: Any = _Engine(0)
        power = ServerPower(clock, [made], parked, Idle(clock, [0.01]), 30.0, lambda engine, why: told.append(why))
        await made.start(30)
        power.park(engine)
        power.start(engine, lambda: told.append("ready"))
        assert not power.at_once(engine)
        while not told:
            clock.act()
            await asyncio.sleep(0.01)
        told.append("up" if await healthy(made.url) else "down")
        power.park(engine)
        await asyncio.gather(*power._latest.values())
        told.append("up" if await healthy(made.url) else "down")
        await made.stop()
        return told

    assert asyncio.run(run()) == ["ready", "up", "down" if parked == "stop" else "up"]
