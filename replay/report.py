"""How an engine's plug-in reports: straight to the run where both share a process, else to a file and a socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TextIO

from policies.decisionlog import DecisionLog, Full, Summary
from policies.types import EngineView
from replay.journal import Journal, Step
from replay.wire import Left, Settings, state_message


class Report(Protocol):
    """What a plug-in has to tell."""

    def step(self, step: Step) -> None: ...
    def left(self, left: Left) -> None: ...
    def fault(self, text: str) -> None: ...
    def state(self, view: EngineView) -> None: ...
    def close(self) -> None: ...


class DirectReport:
    """To the journal of a run in this very process. ``on_left`` is told of requests that leave; the view needs no telling."""

    def __init__(self, journal: Journal, index: int, on_left: Callable[[Left], None]) -> None:
        self._journal = journal
        self._index = index
        self._on_left = on_left

    def step(self, step: Step) -> None:
        self._journal.step(self._index, step)

    def left(self, left: Left) -> None:
        self._on_left(left)

    def fault(self, text: str) -> None:
        self._journal.fault(text)

    def state(self, view: EngineView) -> None:
        pass

    def close(self) -> None:
        pass


class FileReport:
    """To the log file and the socket that the settings name. A state that the socket will not take at once is dropped."""

    def __init__(self, settings: Settings) -> None:
        self._file = _continued(Path(settings.log)) if settings.log else None
        self._summary = Summary() if settings.decisions == "summary" else None
        self.decisions: DecisionLog | None = _FileDecisions(self) if settings.decisions == "full" else self._summary
        """Where the batcher's decisions are logged."""
        if self._file is not None and self._file.tell():
            self.write({"kind": "decision", "entry": {"point": "restart", "engine": settings.engine}})
        self._address = settings.socket
        self._socket: socket.socket | None = None
        if settings.socket:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def step(self, step: Step) -> None:
        self.write({"kind": "step", "row": step})

    def left(self, left: Left) -> None:
        self.write({"kind": "request", "row": left})

    def fault(self, text: str) -> None:
        self.write({"kind": "fault", "text": text})

    def write(self, message: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(message, separators=(",", ":")) + "\n")

    def state(self, view: EngineView) -> None:
        if self._file is not None:
            self._file.flush()
        if self._socket is not None:
            with suppress(OSError):  # the harness is slow or gone; neither is the engine's business
                self._socket.sendto(state_message(view), self._address or "")

    def close(self) -> None:
        for entry in self._summary or ():
            self.write({"kind": "decision", "entry": entry})
        if self._file is not None:
            self._file.close()
        if self._socket is not None:
            self._socket.close()


def _continued(path: Path) -> TextIO:
    """The file, for writing after its last whole line: the process that wrote it before may have been killed while it did."""
    file = path.open("a+", encoding="utf-8")
    written = path.read_bytes()
    file.truncate(written.rfind(b"\n") + 1)
    file.seek(0, 2)
    return file


class _FileDecisions(Full):
    """A full decision log that goes to a report's file as it is made."""

    def __init__(self, report: FileReport) -> None:
        super().__init__()
        self._report = report

    def add(self, entry: Mapping[str, Any]) -> None:
        self._report.write({"kind": "decision", "entry": entry})
