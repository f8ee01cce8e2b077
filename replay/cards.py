"""The GPUs of a machine, dealt out to servers as they start, where there are fewer than all of them together would need.

On a CPU a GPU is stood for by some of the cores, to which the servers that take it are pinned (``replay.vllm_serve``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from replay.knobs import device
from replay.vllm_serve import CORES
from traces.errors import InputError
from traces.scenario import Scenario
from traces.scenario.replay import Replay


class Cards:
    """GPUs by the names that ``variable`` takes, each with so many places. A server holds its own from its start until it has been
    stopped.
    """

    def __init__(self, names: Sequence[str], variable: str = "CUDA_VISIBLE_DEVICES", *, places: int = 1) -> None:
        self._variable = variable
        self._free = dict.fromkeys(names, places)
        self._held: dict[str, list[str]] = {}
        self._news = asyncio.Condition()

    async def take(self, server: str, count: int) -> Mapping[str, str]:
        """Places on ``count`` GPUs, those with the most of them free, as the server's variable; waits for servers that are being
        stopped.
        """
        async with self._news:
            await self._news.wait_for(lambda: len(self._open()) >= count)
            self._held[server] = held = sorted(self._open(), key=lambda name: -self._free[name])[:count]
            for name in held:
                self._free[name] -= 1
            return {self._variable: ",".join(held)}

    async def give_back(self, server: str) -> None:
        """What a server holds, if it holds any."""
        async with self._news:
            for name in self._held.pop(server, []):
                self._free[name] += 1
            self._news.notify_all()

    def _open(self) -> Sequence[str]:
        return [name for name, places in self._free.items() if places]


def cards_of(scenario: Scenario, choice: Replay) -> Mapping[str, Cards]:
    """By type of GPU, where the scenario's inventory says how many there are, or engines share them; else none.

    Raises:
        InputError: the scenario names cores that this process may not use.
    """
    pools = scenario.declared_pools
    shared = any(pool.engines_per_gpu > 1 for pool in pools)
    if choice.cores is None and (device(choice) == "cpu" or (scenario.inventory is None and not shared)):
        return {}
    places = {pool.gpu: pool.engines_per_gpu for pool in pools}
    counts = {kind: -(-sum(p.engines for p in pools if p.gpu == kind) // places[kind]) for kind in places}
    counts |= scenario.inventory or {}
    names, variable = _names(choice, sum(counts.values()))
    found, first = {}, 0
    for kind, count in counts.items():
        found[kind] = Cards(names[first : first + count], variable, places=places[kind])
        first += count
    return found


def _names(choice: Replay, count: int) -> tuple[Sequence[str], str]:
    """Of all GPUs, and the variable that takes them."""
    if choice.cores is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return visible.split(",") if visible else [str(number) for number in range(count)], "CUDA_VISIBLE_DEVICES"
    if not hasattr(os, "sched_getaffinity"):
        raise InputError("replay.cores: processes cannot be pinned to cores on this system; remove it")
    if missing := {core for cores in choice.cores for core in cores} - os.sched_getaffinity(0):
        there = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise InputError(f"replay.cores: names core {min(missing)}, and there are {there}; name some of these")
    if len(choice.cores) != count:
        raise InputError(f"replay.cores: stands for {len(choice.cores)} GPUs, and there are {count}; give each of these its cores")
    return [",".join(map(str, cores)) for cores in choice.cores], CORES
