"""What a router would have decided on servers that others run: their state and arrivals are read, and nothing is touched.

Arrivals come from a request log that someone appends to (a JSON object per line, with ``prompt_tokens`` and, if the scenario has
several classes, ``class``), or else from the servers' own counters: requests that a server has more than at the last look have
arrived there, each taken to have the mean prompt of all it has prefilled. Counters also tell where a request really went.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from policies import registry
from policies.decisions import Assign, Routing
from policies.protocols import Router
from policies.views import NOT_HELD
from replay import attached
from replay.client import Client
from replay.clock import WallClock
from replay.http import reason
from replay.launch import api_key, attached_servers, observed_every_s
from replay.prometheus import ServerState
from replay.prompts import Prompts
from replay.remote import Bodies, RemoteEngine
from replay.request import Request
from replay.world import World
from traces.errors import InputError
from traces.scenario import Scenario

_UNKNOWN_PROMPT = 512
"""Tokens of a prompt where a server has not prefilled any yet."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """One decision that was not carried out. ``actual``: the engine that the request went to, ``None`` = not known."""

    at_s: float
    request: int
    prompt_tokens: int
    decision: Routing
    actual: str | None

    @property
    def would(self) -> str | None:
        """The engine that the router would have taken; ``None`` = it would have held or shed the request."""
        return self.decision.engine if isinstance(self.decision, Assign) else None


def shadow(scenario: Scenario, tell: Callable[[Shadowed], None], *, seconds: float = float("inf"), log: Path | None = None) -> None:
    """Watch the scenario's attached servers for so long, and ``tell`` every decision that its router would have made.

    Raises:
        InputError: the scenario names no servers, one does not answer, or the log cannot be read.
    """
    world = World(scenario)
    if world.choice.engines != "attached":
        raise InputError("replay.engines: a shadow watches servers that are there; write `engines: attached`, and their urls")
    asyncio.run(_watch(world, tell, seconds, log))


async def _watch(world: World, tell: Callable[[Shadowed], None], seconds: float, log: Path | None) -> None:
    key, interval_s = api_key(world), observed_every_s(world.scenario)
    async with attached_servers(world) as servers:
        onlooker = _Onlooker(world, tell)
        with _follow(log) as lines:
            began_s = onlooker.clock.now()
            while onlooker.clock.now() - began_s < seconds:
                looked_s = onlooker.clock.now()
                states = await asyncio.gather(*(_look(server.url, key) for server in servers))
                counted = [onlooker.see(index, state, looked_s) for index, state in enumerate(states)]
                if lines is None:
                    for index, (arrived, prompt) in enumerate(counted):
                        for _ in range(arrived):
                            onlooker.decide(prompt, 0, f"e{index}")
                else:
                    for entry in _entries(lines, log):
                        onlooker.decide(*onlooker.read(entry, log), None)
                await asyncio.sleep(max(0.0, looked_s + interval_s - onlooker.clock.now()))


class _Onlooker:
    """The fleet as its router sees it, of engines that nothing is ever sent to."""

    def __init__(self, world: World, tell: Callable[[Shadowed], None]) -> None:
        self.clock = WallClock()
        self._tell = tell
        self._classes = world.workload.classes
        chosen = world.scenario.policy.router
        self._router: Router = registry.build("router", chosen.name, chosen.params, world.scenario.seed)
        self._fleet = world.fleet(self.clock)
        nothing = Bodies(Prompts(world.workload, 1 << 10, 0), "", priorities=False, epoch_s=0.0)
        self._engines = [
            RemoteEngine(index, pool, Client("http://localhost", self.clock.now), nothing, self._fleet, NOT_HELD, self.clock.now)
            for index, pool in enumerate(world.pools)
        ]
        self._fleet.set_engines(self._engines)
        self._seen: dict[int, ServerState] = {}
        self._requests = 0

    def see(self, index: int, state: ServerState | None, at_s: float) -> tuple[int, int]:
        """An engine's state is new, ``None`` = it did not answer. How many requests arrived there, and their mean prompt."""
        engine = self._engines[index]
        if state is None:
            engine.failed("the server does not answer")
            return 0, 0
        engine.recovered()
        engine.told_metrics(state, at_s)
        before = self._seen.get(index)
        self._seen[index] = state
        if before is None:
            return 0, 0
        prefilled = state.finished + state.running
        prompt = state.prompt_tokens // prefilled if prefilled and state.prompt_tokens else _UNKNOWN_PROMPT
        return max(0, _taken(state) - _taken(before)), prompt

    def read(self, entry: Mapping[str, Any], log: Path | None) -> tuple[int, int]:
        """Prompt tokens and class of a line of the request log."""
        names = [one.name for one in self._classes]
        prompt, name = entry.get("prompt_tokens"), entry.get("class", names[0])
        if not isinstance(prompt, int) or prompt < 1:
            raise InputError(f"{log}: a line has no `prompt_tokens` of at least 1; write one JSON object per request")
        if name not in names:
            raise InputError(f"{log}: a line has class {name!r}; the scenario has {', '.join(names)}")
        return prompt, names.index(name)

    def decide(self, prompt_tokens: int, klass: int, actual: str | None) -> None:
        """Ask the router about a request that has just arrived."""
        request = Request(self._requests, self._classes[klass], klass, self.clock.now(), prompt_tokens, 1)
        self._requests += 1
        self._tell(Shadowed(request.arrival_s, request.id, prompt_tokens, self._router.route(request, self._fleet), actual))


def _taken(state: ServerState) -> int:
    """Requests that a server has had so far."""
    return state.finished + state.running + state.waiting


async def _look(url: str, key: str | None) -> ServerState | None:
    try:
        state = await attached.look(url, key)
    except OSError:
        return None
    if state is None:
        raise InputError(f"replay.urls: {url}/metrics is not that of a vLLM server; a shadow can watch no other")
    return state


@contextmanager
def _follow(path: Path | None) -> Iterator[IO[str] | None]:
    """A file from its present end on; ``None`` for none."""
    if path is None:
        yield None
        return
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); name the file that requests are logged to") from None
    with file:
        file.seek(0, 2)
        yield file


def _entries(lines: IO[str], log: Path | None) -> Iterator[Mapping[str, Any]]:
    """The whole lines that were added; half a line waits for its other half."""
    while True:
        place = lines.tell()
        line = lines.readline()
        if not line.endswith("\n"):
            lines.seek(place)
            return
        try:
            entry = json.loads(line)
        except ValueError:
            raise InputError(f"{log}: a line is not JSON; write one JSON object per request") from None
        yield entry if isinstance(entry, dict) else {}
