"""The run's end of the wire: engines' states as they come, and what they logged once they are gone."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replay.journal import Journal
from replay.remote import RemoteEngine
from replay.request import Request
from replay.wire import left_of, read_log, settle, step_of

_BUFFER = 1 << 22
_LARGEST = 1 << 20


class StateSocket:
    """A Unix datagram socket on which the plug-ins of all engines tell their states."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        self._engines: Mapping[str, RemoteEngine] = {}

    def listen(self, engines: Mapping[str, RemoteEngine]) -> None:
        """Tell ``engines``, by id, what comes from now on."""
        self._drain()  # of what came before the run
        self._engines = engines
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        if self._engines:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        """Only the newest state of each engine counts."""
        for name, message in self._drain().items():
            if name in self._engines and message["as_of_s"] >= 0:
                self._engines[name].told_state(message)

    def _drain(self) -> dict[str, dict[str, Any]]:
        newest: dict[str, dict[str, Any]] = {}
        while True:
            try:
                message = json.loads(self._socket.recv(_LARGEST))
            except BlockingIOError:
                return newest
            newest[message["engine"]] = message


def collect(path: Path, index: int, journal: Journal, requests: Mapping[int, Request]) -> list[Mapping[str, Any]]:
    """Enter an engine's log in the journal and in ``requests`` (by id); returns the decisions in it.

    What happened before the run's start (negative times, requests that are not the run's) is left out.

    Raises:
        InputError: the log cannot be read.
    """
    decisions = []
    for message in read_log(path) if path.exists() else ():
        match message["kind"]:
            case "step":
                if (step := step_of(message)).end_s > 0:
                    journal.step(index, step._replace(start_s=max(step.start_s, 0.0)))
            case "request":
                left = left_of(message)
                if (request := requests.get(left.id)) is not None:
                    if left.id not in journal.settled:  # what its stream has told is less exact
                        journal.settled.add(left.id)
                        request.first_scheduled_s = None
                        request.cached_tokens = request.preemptions = request.drafted_tokens = request.accepted_tokens = 0
                    settle(request, left)
            case "fault":
                journal.fault(f"e{index}: {message['text']}")
            case "decision":
                decisions.append(message["entry"])
    return decisions
