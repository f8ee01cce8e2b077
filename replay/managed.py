"""Servers that a run starts for itself: one process group each, waited for until healthy, logged to a file, stopped at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from replay.cards import Cards
from replay.http import get
from replay.ports import HOST
from traces.errors import InputError

_STOP_S = 10.0
"""How long a server may take to stop before it is killed."""
_POLL_S = 0.25
_TAIL_BYTES = 1 << 16


class ManagedServer:
    """One server process. ``arguments``: of vLLM's ``serve``, the model first. ``environment``: on top of this process's own.

    ``cards``: where its GPUs come from at each start, ``gpus`` of them, in place of those that the environment names.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        port: int,
        log: Path,
        environment: Mapping[str, str],
        *,
        cards: Cards | None = None,
        gpus: int = 1,
    ) -> None:
        self.name = name
        self._cards = cards
        self._gpus = gpus
        self.url = f"http://{HOST}:{port}"
        self.log = log
        self._port = port
        self._command = [sys.executable, "-m", "replay.vllm_serve", *arguments, "--host", HOST, "--port", str(port)]
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self.up = asyncio.Event()
        """Set while it can serve, as far as is known."""

    async def start(self, timeout_s: float) -> None:
        """Start it and wait until it can serve. It may have run before.

        Raises:
            InputError: it ended before it could serve, or it took too long; one line with what its log says.
        """
        devices = await self._devices(timeout_s)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb" if self._process is None else "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env={**self._environment, **devices},
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(timeout_s):
                while not await healthy(self.url):
                    if self._process.returncode is not None:
                        raise InputError(self._why_it_ended())
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            await self.stop()
            raise InputError(
                f"{self.name}: the server was not ready after {timeout_s:g} s; raise replay.start_timeout, or read {self.log}"
            ) from None
        except BaseException:
            await self.stop()
            raise
        self.up.set()

    async def died(self) -> str:
        """Wait until the process ends by itself, however often it is stopped and started before, and say how."""
        while True:
            await self.up.wait()
            assert self._process is not None
            code = await self._process.wait()
            if self.up.is_set():
                self.up.clear()
                return _how(code)

    def kill(self) -> None:
        """End the whole process group at once, as a fault would."""
        self.up.clear()
        if self._process is not None:
            self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Stop the whole process group: asked first, then killed. May be called again."""
        self.up.clear()
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)  # what a stopped server left behind, too
            await process.wait()
            if self._cards is not None:
                await self._cards.give_back(self.name)

    async def _devices(self, timeout_s: float) -> Mapping[str, str]:
        """The GPUs for one start, where they are dealt out."""
        if self._cards is None:
            return {}
        try:
            async with asyncio.timeout(timeout_s):
                return await self._cards.take(self.name, self._gpus)
        except TimeoutError:
            raise InputError(f"{self.name}: no {self._gpus} GPUs were free within {timeout_s:g} s; raise the inventory") from None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _why_it_ended(self) -> str:
        assert self._process is not None
        assert self._process.returncode is not None
        said, remedy = diagnosis(tail(self.log))
        how = _how(self._process.returncode)
        return f"{self.name}: the server ended before it could serve ({how}): {said}; {remedy or f'read {self.log}'}"


async def healthy(url: str, timeout_s: float = 5.0) -> bool:
    """Whether ``GET /health`` answers 200."""
    try:
        status, _ = await get(url, "/health", timeout_s=timeout_s)
    except OSError:
        return False
    return status == 200


_CAUSES = (
    (r"address already in use", "its port is in use", "stop what listens there, or set replay.port"),
    (
        r"out of memory|OutOfMemoryError|[Nn]o available memory for the cache|larger than the available KV cache memory"
        r"|less than desired GPU memory|Cannot allocate memory|exceeds? available",
        "",
        "lower engine.gpu_memory_utilization, max_model_len or the model's size",
    ),
    (r"unrecognized arguments|invalid choice|usage: vllm", "", "this version of vLLM does not know the option"),
    (r"No module named 'vllm'", "vLLM is not installed", "install twinserve[cpu], or vLLM 0.26 or newer on a GPU"),
)


def diagnosis(log: Sequence[str]) -> tuple[str, str]:
    """What a server's log says of its end: the telling line, or what it means, and what to do about it where that is known."""
    for pattern, meaning, remedy in _CAUSES:
        for line in reversed(log):
            if re.search(pattern, line, re.IGNORECASE):
                return meaning or _plain(line), remedy
    errors = [line for line in log if re.search(r"\b\w*(Error|Exception)\b: ", line)]
    said = errors[-1] if errors else next((line for line in reversed(log) if line.strip()), "it said nothing")
    return _plain(said), ""


def tail(path: Path) -> list[str]:
    """The last lines of a file; none if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _plain(line: str) -> str:
    """A log line without its prefixes (process, level, time, place) and control characters, not too long."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    line = re.sub(r"^(\(\S+ pid=\d+\)\s*)?((ERROR|INFO|WARNING|CRITICAL)\s+\d\d-\d\d \d\d:\d\d:\d\d\s+\[[^\]]*\]\s*)?", "", line)
    line = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    return line if len(line) <= 300 else line[:299] + "…"


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
