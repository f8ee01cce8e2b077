"""The GPUs of a machine, dealt out to servers as they start, where there are fewer than all of them together would need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


class Cards:
    """GPUs by the names that ``CUDA_VISIBLE_DEVICES`` takes. A server holds its GPUs from its start until it has been stopped."""

    def __init__(self, names: Sequence[str]) -> None:
        self._free = list(names)
        self._held: dict[str, list[str]] = {}
        self._news = asyncio.Condition()

    async def take(self, server: str, count: int) -> str:
        """The first ``count`` that are free, as ``CUDA_VISIBLE_DEVICES``; waits for servers that are being stopped."""
        async with self._news:
            await self._news.wait_for(lambda: len(self._free) >= count)
            self._held[server], self._free = self._free[:count], self._free[count:]
            return ",".join(self._held[server])

    async def give_back(self, server: str) -> None:
        """What a server holds, if it holds any."""
        async with self._news:
            self._free += self._held.pop(server, [])
            self._news.notify_all()
