"""A plan while it is made: the standings on a terminal's stderr; elsewhere nothing."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.text import Text

from figures.planning import words
from figures.studies.columns import GAP
from figures.units import duration, number
from sim.plan import Progress
from sim.planning.question import Aim

if TYPE_CHECKING:
    from rich.live import Live

_SHOWN = 8
_PER_SECOND = 4


class PlanProgress:
    """``aim``: what is ranked."""

    def __init__(self, aim: Aim, *, enabled: bool = True) -> None:
        self._aim, self._enabled = aim, enabled and sys.stderr.isatty()
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._enabled:
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(console=console, transient=True, refresh_per_second=_PER_SECOND, get_renderable=self.drawn)
            self._live.__enter__()
        return self

    def watch(self, progress: Progress) -> None:
        """Take note of the progress, which is shown a few times a second."""
        self._progress = progress

    def drawn(self) -> Group:
        """What is done, and the best so far."""
        progress, elapsed_s = self._progress, time.monotonic() - self._began
        if progress is None:
            return Group(Text(f"all deployments are estimated in closed form · {duration(elapsed_s)} so far", "bold"))
        head = f"{progress.stage}: {progress.done} of {progress.total} · {duration(elapsed_s)} so far"
        rows = [["engine", "policy", "engines", "req/s" if self._aim == "rate" else "$/h"]]
        for a in progress.standings[:_SHOWN]:
            last = number(a.rate_per_s) if self._aim == "rate" else words.usd(a.usd_per_hour)
            rows.append([words.engine(a.arm), words.policy(a.arm), words.engines(a), last])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            Text(GAP.join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip(), "bold" if i == 0 else "")
            for i, row in enumerate(rows)
        ]
        return Group(Text(head, "bold"), *lines)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
