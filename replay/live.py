"""A run by the wall clock, on servers that the run starts itself or that are there already."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, LatencyModel
from policies.types import EngineState, Role
from policies.views import NOT_HELD
from replay.client import Client
from replay.clock import Turn, WallClock
from replay.engine import Engine
from replay.fleet import FAILED
from replay.knobs import device, vocabulary
from replay.launch import Server, api_key, attached_servers, engine_log, managed_servers, observed_every_s, parking, scales
from replay.lifecycle import Idle
from replay.load import Load, lag_allowed_s
from replay.manifest import Facts
from replay.power import ServerPower
from replay.remote import Bodies, RemoteEngine
from replay.wire_reader import StateSocket, collect
from replay.world import Watch, World
from traces.errors import InputError

_LEAD_S = 0.5
"""From when the servers are up to the run's start: for opening connections and for making the first requests ready."""
_TICK_S = 0.05
_SLACK_S = 0.003
"""Nothing is made ready when a request is due so soon."""
_SWEEP_S = 1.0
_CONNECTIONS = 64
"""Opened to each server ahead of the load; more as they are needed."""
_REASONS_SHOWN = 3


def run_live(world: World, folder: Path, watch: Watch | None) -> Facts:
    """Play a scenario by the wall clock. ``folder``: for sockets and logs of the run, removed by the caller.

    Ctrl-C and SIGTERM end the run early: it is then partial, and complete in all else.

    Raises:
        InputError: a server cannot be started or reached, or the router makes an illegal decision.
    """
    _refuse_what_servers_cannot(world)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        facts = asyncio.run(_play(world, folder, watch))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    requests = {request.id: request for request in world.journal.requests}
    decisions = [collect(engine_log(folder, name), index, world.journal, requests) for index, name in enumerate(world.engines)]
    world.told_decisions = [entry for entries in decisions for entry in entries]
    return facts


def _refuse_what_servers_cannot(world: World) -> None:
    if world.choice.engines == "attached" and any(pool.role is not Role.BOTH for pool in world.pools):
        raise InputError(
            "fleet: a replay hands no KV over between attached servers, which it cannot set up for it; use `engines: managed`, or "
            "simulate it"
        )


class LiveClock(WallClock):
    """The wall clock of a run on an asyncio loop, which sleeps until something is due."""

    def __init__(self, epoch_s: float) -> None:
        super().__init__(epoch_s)
        self._stirred = asyncio.Event()
        self._until_s = float("-inf")
        self.fault: Exception | None = None
        """What went wrong in a ``pulse``."""

    def pulse(self) -> None:
        """Carry out what is due, between two chunks that are read; the loop would swallow a fault there."""
        try:
            self.act()
        except Exception as error:
            self.fault = error
            self._stirred.set()

    def call_at(self, time_s: float, turn: Turn, action: Callable[[], None]) -> None:
        super().call_at(time_s, turn, action)
        if time_s < self._until_s:
            self._stirred.set()

    async def rest(self, most_s: float) -> None:
        """Until the next action is due or the run starts, at most so long."""
        now_s = self.now()
        self._until_s = min(self.next_s, now_s + most_s, 0.0 if now_s < 0 else float("inf"))
        self._stirred.clear()
        timer = asyncio.get_running_loop().call_later(max(0.0, self._until_s - now_s), self._stirred.set)
        await self._stirred.wait()
        timer.cancel()
        self._until_s = float("-inf")


async def _play(world: World, folder: Path, watch: Watch | None) -> Facts:
    state = StateSocket(folder / "state")
    servers = attached_servers(world) if world.choice.engines == "attached" else managed_servers(world, folder, state.path)
    task = asyncio.current_task()
    assert task is not None
    with contextlib.closing(state), _terminable(task):
        async with servers as found:
            return await _Run(world, found, state).play(watch)


class _Run:
    """One run on servers that are up."""

    def __init__(self, world: World, servers: Sequence[Server], state: StateSocket) -> None:
        self._world = world
        self._servers = servers
        self._state = state
        self._clock = clock = LiveClock(time.monotonic() + _LEAD_S)
        self._fleet = fleet = world.fleet(clock)
        pools = world.pools
        key = api_key(world) if world.choice.engines == "attached" else None
        self._clients = [Client(server.url, clock.now, api_key=key, pulse=clock.pulse) for server in servers]
        bodies = {
            (server.model, pool.model): Bodies(
                world.prompts(vocabulary(pool, world.choice)),
                server.model,
                priorities=pool.engine.scheduling_policy == "priority",
                epoch_s=clock.epoch_s,
                by_file=device(world.choice) == "cpu",
            )
            for server, pool in zip(servers, pools, strict=True)
        }
        self._engines = [
            RemoteEngine(index, pool, client, bodies[server.model, pool.model], fleet, _belief(fingerprint), clock.now)
            for index, (pool, client, server, fingerprint) in enumerate(
                zip(pools, self._clients, servers, world.fingerprints, strict=True)
            )
        ]
        apart = any(pool.role is not Role.BOTH for pool in pools)
        self._load = Load(
            clock,
            world.workload,
            fleet.dispatch,
            concurrency=world.built.concurrency,
            until_s=world.until_s,
            prepare=next(iter(bodies.values())).prepare if len(bodies) == 1 and not apart else None,
        )
        self._power = self._powered(list(servers))
        fleet.on_done = self._load.on_done

    def _powered(self, servers: Sequence[Server]) -> ServerPower | None:
        """What brings the run's own servers up and down; attached ones idle."""
        world, processes = self._world, [server.process for server in servers if server.process is not None]
        if not processes:
            return None
        idle = Idle(self._clock, [pool.start_up_s for pool in world.pools])
        return ServerPower(self._clock, processes, parking(world), idle, world.choice.start_timeout_s, self._broken)

    def _broken(self, engine: Engine, why: str) -> None:
        self._world.journal.fault(why)
        self._engines[engine.index].failed(why)

    async def play(self, watch: Watch | None) -> Facts:
        """Until all is done, the scenario's end, the last engine's, or an interruption."""
        for client, server in zip(self._clients, self._servers, strict=True):
            if server.process is None or server.process.up.is_set():
                with contextlib.suppress(OSError):
                    await client.warm(_CONNECTIONS)
        watchers = [
            asyncio.create_task(server.watch(engine, self._clock.now))
            for server, engine in zip(self._servers, self._engines, strict=True)
        ]
        interrupted = False
        gc.collect()
        gc.freeze()
        try:
            with _ahead_of_others():
                await self._loop(watch)
        except asyncio.CancelledError:
            interrupted = True
        finally:
            gc.unfreeze()
            if self._power is not None:
                self._power.close()
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            end_s, served = self._clock.now(), self._served()
            self._load.stop()
            self._fleet.close()
        return self._facts(end_s, interrupted, partial=not served and end_s < self._world.end_s)

    async def _loop(self, watch: Watch | None) -> None:
        world, clock, fleet, load = self._world, self._clock, self._fleet, self._load
        while clock.now() < 0:
            await (asyncio.sleep(0) if load.make_ready() else clock.rest(_TICK_S))
        world.set_going(fleet, self._engines, clock, self._power)
        self._state.listen({engine.id: engine for engine in self._engines})
        clock.call_at(_SWEEP_S, Turn.OBSERVE, self._sweep)
        load.start()
        while not (self._over() or clock.now() >= world.end_s):
            clock.act()
            if clock.fault is not None:
                raise clock.fault
            if clock.next_s - clock.now() > _SLACK_S and load.make_ready():
                await asyncio.sleep(0)
            else:
                await clock.rest(_TICK_S)
            if watch is not None:
                watch(world.progress(clock, fleet))

    def _over(self) -> bool:
        """Everybody is served, or nobody ever will be: a managed server does not come back by itself."""
        managed = self._world.choice.engines == "managed" and not self._world.goes_on
        return self._served() or (managed and all(engine.state is EngineState.FAILED for engine in self._engines))

    def _served(self) -> bool:
        return self._load.exhausted and self._fleet.done == self._fleet.offered

    def _sweep(self) -> None:
        for engine in self._engines:
            engine.give_up_silent(self._world.choice.silence_s)
        self._clock.call_at(self._clock.now() + _SWEEP_S, Turn.OBSERVE, self._sweep)

    def _facts(self, end_s: float, interrupted: bool, *, partial: bool) -> Facts:
        world, load = self._world, self._load
        knobs = {
            engine.id: {
                "kv_tokens_capacity": engine.size.kv_tokens,
                "max_num_seqs": engine.size.max_seqs,
                "max_num_batched_tokens": engine.size.max_batched_tokens,
            }
            for engine in self._engines
        }
        return Facts(
            world.choice.engines,
            knobs,
            end_s,
            partial=partial,
            lag_s=load.lag_s,
            unsound=list(_late(load.lag_s, lag_allowed_s(world.workload.classes))),
            warnings=[
                *([f"interrupted at {end_s:.1f} s; what was under way is unfinished"] if interrupted else []),
                *self._failures(),
            ],
            more={"observe_s": observed_every_s(world.scenario), "device": device(world.choice), **self._parking()},
        )

    def _parking(self) -> dict[str, Any]:
        """What parked engines did, and how long they took to come up."""
        if not scales(self._world.scenario):
            return {}
        parked = "idle" if self._power is None else parking(self._world)
        return {"parked": parked, "start_ups_s": [] if self._power is None else self._power.start_ups_s}

    def _failures(self) -> Iterator[str]:
        """Why requests failed, the most frequent reasons first."""
        reasons = Counter(request.reason for request in self._world.journal.requests if request.outcome == FAILED)
        for reason, count in reasons.most_common(_REASONS_SHOWN):
            yield f"{count} request{'' if count == 1 else 's'} failed: {reason}"
        if (rest := len(reasons) - _REASONS_SHOWN) > 0:
            yield f"requests failed for {rest} more reason{'' if rest == 1 else 's'}"


def _belief(fingerprint: Fingerprint | None) -> LatencyModel:
    """What a router may know of an engine's step time; it is an error to ask where nobody knows."""
    model: LatencyModel = NOT_HELD if fingerprint is None else FingerprintLatency(fingerprint)
    return model


def _late(lag_s: Sequence[float], allowed_s: float) -> Iterator[str]:
    """Why the load was not the workload's, if it was not."""
    if len(lag_s) and (p99 := float(np.quantile(lag_s, 0.99))) > allowed_s:
        yield (
            f"unsound: requests were sent {1e3 * p99:.0f} ms late (p99), more than the {1e3 * allowed_s:.0f} ms that are allowed; "
            "give the run more cores or the right to real-time scheduling (CAP_SYS_NICE), or lower the rate"
        )


@contextlib.contextmanager
def _ahead_of_others() -> Iterator[None]:
    """Where the system allows it, the sending process goes before engines on the same cores: it needs little, and at its time.

    In the real-time class, as a nice value does not count between the sessions of a desktop's or a container's processes.
    """
    before = (os.sched_getscheduler(0), os.sched_getparam(0)) if hasattr(os, "sched_getscheduler") else None
    try:
        if before is not None:
            ahead = before[1].sched_priority + os.sched_get_priority_min(os.SCHED_RR)
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(ahead))
    except OSError:
        before = None
    try:
        yield
    finally:
        if before is not None:
            os.sched_setscheduler(0, *before)


@contextlib.contextmanager
def _terminable(task: asyncio.Task[object]) -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError):  # not on the main thread: nobody to tell
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
