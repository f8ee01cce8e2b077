"""A plan while it is made: the standings on a terminal's stderr; elsewhere nothing."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from figures.live import Drawn
from figures.planning import words
from figures.studies.columns import GAP
from figures.units import duration, number
from sim.plan import Progress
from sim.planning.question import Aim

_SHOWN = 8


class PlanProgress(Drawn):
    """``aim``: what is ranked."""

    def __init__(self, aim: Aim, *, enabled: bool = True) -> None:
        super().__init__(enabled=enabled)
        self._aim = aim
        self._progress: Progress | None = None

    def watch(self, progress: Progress) -> None:
        """Take note of the progress, which is shown a few times a second."""
        self._progress = progress

    def drawn(self) -> Group:
        """What is done, and the best so far."""
        progress, elapsed_s = self._progress, self.elapsed_s
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
