"""The servers of a run: started for it, one per engine, or found at the scenario's URLs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policies.types import Role
from policies.views import Request as Stranger
from replay import attached
from replay.cards import cards_of
from replay.client import Client, Ending, completion
from replay.knobs import device, engine_arguments, environment, options, scheduler_class
from replay.managed import ManagedServer
from replay.ports import reserved
from replay.power import Parked, sleep
from replay.prompts import RESERVED
from replay.remote import RemoteEngine
from replay.wire import KEY, told
from replay.world import World
from traces.errors import InputError
from traces.scenario import Scenario
from traces.scenario.replay import Replay

LOGS = Path(".twinserve/logs")
OBSERVE_S = 0.05
"""Between two states that a managed engine tells, unless the scenario says otherwise (``sim.observe``)."""
_LONG_AFTER_S = 1e6
_WARM_UP = 4
_WARM_UP_TOKENS = 15

Watcher = Callable[[RemoteEngine, Callable[[], float]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Server:
    """One server. ``model``: what it calls its model. ``watch``: tells an engine what becomes of the server, until cancelled.

    ``process``: of one that the run has started.
    """

    url: str
    model: str
    watch: Watcher
    process: ManagedServer | None = None


def api_key(world: World) -> str | None:
    """The servers' key, from the environment variable that the scenario names.

    Raises:
        InputError: the variable is not set, or holds what no header can.
    """
    name = world.choice.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "")
    if not key or not key.isascii() or not key.isprintable():
        state = "holds characters that no HTTP header can" if key else "is not set"
        raise InputError(f"replay.api_key_env: the environment variable {name} {state}; put the servers' API key there")
    return key


def observed_every_s(scenario: Scenario) -> float:
    """How often the router's view of the engines is renewed."""
    choice = scenario.replay or Replay()
    return scenario.sim.observe_s or (attached.INTERVAL_S if choice.engines == "attached" else OBSERVE_S)


def engine_log(folder: Path, engine: str) -> Path:
    """Where an engine's plug-in writes what it did."""
    return folder / f"{engine}.jsonl"


def scales(scenario: Scenario) -> bool:
    """Whether engines are parked or may come to be."""
    return scenario.policy.scaler is not None or any(pool.hardware.parked for pool in scenario.pools)


def parking(world: World) -> Parked:
    """What a managed server does while its engine is parked.

    Raises:
        InputError: it is to sleep, on a platform where vLLM does not, or to keep GPUs of which there are too few.
    """
    chosen, on_cpu = world.choice.parked, device(world.choice) == "cpu"
    if world.scenario.inventory is not None and (not on_cpu or world.choice.cores is not None):
        if chosen in ("idle", "sleep"):
            raise InputError(
                f"replay.parked: servers that {chosen} keep their GPUs, and the inventory is for all of them together; use stop"
            )
        return "stop"
    if chosen == "sleep" and on_cpu:
        raise InputError("replay.parked: vLLM has no sleep mode on a CPU; use idle or stop")
    if chosen == "auto":
        return "idle" if on_cpu else "sleep"
    return chosen


@asynccontextmanager
async def attached_servers(world: World) -> AsyncIterator[list[Server]]:
    """Those at the scenario's URLs; nothing of theirs is changed.

    Raises:
        InputError: their number is not that of the fleet's engines, or one does not answer.
    """
    urls, key, interval_s = world.choice.urls, api_key(world), observed_every_s(world.scenario)
    if len(urls) != len(world.engines):
        raise InputError(
            f"replay.urls: names {len(urls)} servers for a fleet of {len(world.engines)} engines; give one URL per engine, or "
            "change fleet.gpus"
        )
    models = await asyncio.gather(*(attached.served_model(url, key) for url in urls))

    def watcher(url: str) -> Watcher:
        return lambda engine, now: attached.watch(engine, url, key, now, interval_s)

    yield [Server(url, model, watcher(url)) for url, model in zip(urls, models, strict=True)]


@asynccontextmanager
async def managed_servers(world: World, folder: Path, socket: Path) -> AsyncIterator[list[Server]]:
    """Started now, and stopped in the end whatever happens. ``socket``: on which the engines tell their states.

    Raises:
        InputError: a port is taken, or one cannot be started.
    """
    scenario, choice = world.scenario, world.choice
    parked, cards = parking(world), cards_of(scenario, choice)
    secrets = [name for name in (choice.api_key_env, "VLLM_API_KEY") if name is not None]
    started = []
    for index, name in enumerate(world.engines):
        settings = replace(
            world.settings(index, log=str(engine_log(folder, name)), socket=str(socket)), observe_s=observed_every_s(scenario)
        )
        arguments = engine_arguments(world.pools[index], choice, scenario.seed, folder) | {
            "scheduler_cls": scheduler_class(world.pools[index]),
            "additional_config": {KEY: settings.to_dict()},
            "enable_prompt_tokens_details": True,
            "disable_uvicorn_access_log": True,
        }
        variables = environment(world.pools, index, choice, secrets)
        if parked == "sleep" and scales(scenario):
            arguments["enable_sleep_mode"] = True
            variables["VLLM_SERVER_DEV_MODE"] = "1"
        log = LOGS / scenario.name / f"{name}.log"
        dealt, gpus = cards.get(world.pools[index].hardware.gpu), world.pools[index].gpus_per_engine
        started.append(ManagedServer(name, options(arguments), choice.port + index, log, variables, cards=dealt, gpus=gpus))
    resting = [pool.parked(index) for index, pool in enumerate(world.pools)]
    awake = [server for server, rests in zip(started, resting, strict=True) if not (rests and parked == "stop")]
    with reserved(choice.port, len(started)):
        try:
            await _all_of(server.start(choice.start_timeout_s) for server in awake)
            if world.decisions is None and not any(pool.role is not Role.BOTH for pool in world.pools):
                models = (world.pools[started.index(server)].model for server in awake)
                await _all_of(_warm_up(server.url, model) for server, model in zip(awake, models, strict=True))
            if parked == "sleep":
                await _all_of(sleep(server) for server, rests in zip(started, resting, strict=True) if rests)
            yield [
                Server(server.url, pool.model, _watcher(server), server) for server, pool in zip(started, world.pools, strict=True)
            ]
        finally:
            await asyncio.gather(*(server.stop() for server in started))


def _watcher(server: ManagedServer) -> Watcher:
    async def watch(engine: RemoteEngine, _: Callable[[], float]) -> None:
        while True:
            engine.failed(f"the server died ({await server.died()})")

    return watch


async def _all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; the first fault ends the others and is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _warm_up(url: str, model: str) -> None:
    """A few short requests, so that the first of the run does not pay for what a server does once.

    The engine is told a run's start long after them, which keeps what they do out of the record. They fill no KV block for long.
    """
    client = Client(url, time.monotonic)
    stranger = told(Stranger(id=-1, model=model), time.monotonic() + _LONG_AFTER_S)
    done = [_Done() for _ in range(_WARM_UP)]
    try:
        for one in done:
            client.send(completion(model, range(RESERVED, RESERVED + _WARM_UP_TOKENS), _WARM_UP_TOKENS, xargs={KEY: stranger}), one)
        await asyncio.gather(*(one.event.wait() for one in done))
    finally:
        client.close()
    if why := next((one.why for one in done if one.why), ""):
        raise InputError(f"replay: {url} cannot serve {model}: {why}; read the server's log below {LOGS}")


class _Done:
    """Waits for a completion to end."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.why = ""

    def on_tokens(self, tokens: int, at_s: float) -> None:
        pass

    def on_end(self, ending: Ending, at_s: float) -> None:
        self.event.set()

    def on_failed(self, why: str, at_s: float) -> None:
        self.why = why
        self.event.set()
