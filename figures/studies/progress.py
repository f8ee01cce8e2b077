"""A sweep, or a search, while it runs."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from figures.live import Drawn
from figures.studies.columns import aligned, headings, written
from figures.tables import Footnotes, share_cell
from figures.units import duration
from sim.sweep import PointResult, Progress, coordinates, estimate

_LATEST = 8


class SweepProgress(Drawn):
    """On a terminal's stderr: how many points are done, how long the rest will take, and the latest ones. Elsewhere nothing.

    ``runs``: of a search, which does not know how many points it will take.
    """

    def __init__(self, *, enabled: bool = True, search: bool = False) -> None:
        super().__init__(enabled=enabled)
        self._search = search
        self._progress: Progress | None = None
        self._latest: list[PointResult] = []
        self._runs = self._faults = self._cached = 0

    def watch(self, progress: Progress) -> None:
        """Take note of the progress, which is shown a few times a second."""
        self._runs += 1
        self._faults += bool(progress.latest.faults)
        self._cached += progress.latest.cached
        self._latest = [*self._latest, progress.latest][-_LATEST:]
        self._progress = progress

    def drawn(self) -> Group:
        progress, latest, elapsed_s = self._progress, self._latest, self.elapsed_s
        if progress is None:
            return Group(Text(f"the first point is computed · {duration(elapsed_s)} so far", "bold"))
        words = [f"{self._runs:,} runs"] if self._search else [f"{progress.done:,} of {progress.total:,} points"]
        if self._cached:
            words.append(f"{self._cached:,} cached")
        if self._faults:
            words.append(f"{self._faults:,} failed")
        if not self._search:
            left = (progress.total - progress.done) * elapsed_s / progress.ran if progress.ran else None
            words.append(f"ETA {duration(left)}")
        words.append(f"{duration(elapsed_s)} so far")
        keys = list(dict.fromkeys(key for result in latest for key in coordinates(result.point)))
        rows = [[*(written(result.point, key) for key in keys), str(result.point.seed), _glance(result)] for result in latest]
        return Group(Text(" · ".join(words), "bold"), *aligned([[*headings(keys), "seed", "attainment"], *rows]))


def _glance(result: PointResult) -> str:
    if result.faults:
        return "failed"
    shown = share_cell(estimate(result.summary()["metrics"], "attainment"), Footnotes())
    return f"{shown.text}{' (cached)' if result.cached else ''}"
