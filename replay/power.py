"""Managed servers as their engines come up and go down: parked they idle, sleep or are stopped; a fault kills them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal

from replay.clock import Clock, Turn
from replay.engine import Engine
from replay.http import post
from replay.lifecycle import Idle
from replay.managed import ManagedServer
from traces.errors import InputError

Parked = Literal["idle", "sleep", "stop"]
_SLEEP_TIMEOUT_S = 120.0


class ServerPower:
    """One server per engine, by index; what is asked of a server is carried out in that order, and takes as long as it takes.

    ``parked``: what a server does meanwhile. An idle one counts as starting for as long as the scenario says (``idle``).
    ``broken`` is told of an engine whose server does not come up, and why.
    """

    def __init__(
        self,
        clock: Clock,
        servers: Sequence[ManagedServer],
        parked: Parked,
        idle: Idle,
        start_timeout_s: float,
        broken: Callable[[Engine, str], None],
    ) -> None:
        self._clock = clock
        self._servers = servers
        self._parked = parked
        self._idle = idle
        self._start_timeout_s = start_timeout_s
        self._broken = broken
        self._latest: dict[int, asyncio.Task[None]] = {}
        self.start_ups_s: list[float] = []
        """Of servers that were started or woken during the run."""

    def at_once(self, engine: Engine) -> bool:
        return self._idles(engine) and self._idle.at_once(engine)

    def start(self, engine: Engine, ready: Callable[[], None]) -> None:
        if self._idles(engine):
            self._idle.start(engine, ready)
        else:
            self._next(engine.index, self._bring_up(engine, ready))

    def park(self, engine: Engine) -> None:
        if self._parked != "idle":
            self._next(engine.index, self._take_down(engine))

    def fail(self, engine: Engine) -> None:
        self._servers[engine.index].kill()

    def close(self) -> None:
        """Leave off: whoever started the servers stops them."""
        for task in self._latest.values():
            task.cancel()

    def _idles(self, engine: Engine) -> bool:
        """Whether the engine's server runs on while the engine is parked."""
        return self._parked == "idle" and self._servers[engine.index].up.is_set()

    def _next(self, index: int, work: Coroutine[Any, Any, None]) -> None:
        self._latest[index] = asyncio.ensure_future(_after(self._latest.get(index), work))

    async def _take_down(self, engine: Engine) -> None:
        server = self._servers[engine.index]
        try:
            if self._parked == "stop":
                await server.stop()
            elif server.up.is_set():
                await sleep(server)
        except InputError as error:
            self._broken(engine, str(error))

    async def _bring_up(self, engine: Engine, ready: Callable[[], None]) -> None:
        server, began_s = self._servers[engine.index], self._clock.now()
        try:
            if not server.up.is_set():
                await server.stop()
                await server.start(self._start_timeout_s)
            elif self._parked == "sleep":
                await _told(server, "/wake_up")
        except InputError as error:
            self._broken(engine, str(error))
            return
        self.start_ups_s.append(self._clock.now() - began_s)
        self._clock.call_at(self._clock.now(), Turn.FLEET, ready)


async def sleep(server: ManagedServer) -> None:
    """vLLM's sleep mode, level 1: weights go to main memory, KV is discarded. Raises as ``_told`` does."""
    await _told(server, "/sleep?level=1")


async def _after(before: asyncio.Task[None] | None, work: Coroutine[Any, Any, None]) -> None:
    try:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
    except BaseException:
        work.close()
        raise
    await work


async def _told(server: ManagedServer, path: str) -> None:
    """One of vLLM's development endpoints.

    Raises:
        InputError: the server does not do it.
    """
    try:
        status, _ = await post(server.url, path, timeout_s=_SLEEP_TIMEOUT_S)
    except OSError as error:
        raise InputError(f"{server.name}: {path} was not answered ({error}); set replay.parked: idle") from None
    if status != 200:
        raise InputError(f"{server.name}: {path} answered HTTP {status}; set replay.parked: idle")
