"""Fake servers on a thread with a loop of its own, for runs that have theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from tests.replay.fake_server import Behaviour, FakeServer


class Host:
    """Fake servers and their URLs. ``do`` runs a coroutine beside them; ``after`` does so later, without waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.servers: list[FakeServer] = []
        self.urls: list[str] = []

    def do(self, work: Coroutine[Any, Any, Any], seconds: float = 20) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def after(self, seconds: float, work: Coroutine[Any, Any, Any]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            await work

        asyncio.run_coroutine_threadsafe(later(), self._loop)


@contextmanager
def hosted(*behaviours: Behaviour) -> Iterator[Host]:
    """One server per behaviour."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    host = Host(loop)
    try:
        for behaviour in behaviours:
            server = FakeServer(behaviour)
            host.urls.append(host.do(server.start()))
            host.servers.append(server)
        yield host
    finally:
        for server in host.servers:
            host.do(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
