"""Progress on stderr: one line that is rewritten on a terminal, and nothing elsewhere, so that logs stay clean."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from replay.world import Progress as ReplayProgress
    from sim.run import Progress

_EVERY_S = 0.2


class _Line:
    """The line itself."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._began = self._shown = time.monotonic()
        self._wrote = False

    def __enter__(self) -> Self:
        return self

    def _due(self) -> bool:
        now = time.monotonic()
        if not self._enabled or now - self._shown < _EVERY_S:
            return False
        self._shown = now
        return True

    def _show(self, text: str) -> None:
        self._wrote = True
        sys.stderr.write(f"\r{text:<100}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Make room for other lines."""
        if self._wrote:
            sys.stderr.write("\r" + " " * 100 + "\r")
            sys.stderr.flush()
            self._wrote = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()


class RunProgress(_Line):
    """Of a run: time in it, requests done, time left."""

    def watch(self, progress: Progress | ReplayProgress) -> None:
        """Show the progress, at most five times a second."""
        if not self._due():
            return
        share = progress.requests / progress.offered
        left = (time.monotonic() - self._began) * (1 - share) / share if share > 0 else None
        eta = "–" if left is None else f"{left:.0f} s"
        done = f"{progress.requests:,} of {progress.offered:,} requests"
        self._show(f"{share:6.1%} · at {progress.now_s:,.0f} s · {done} · ETA {eta}")


class SeedProgress(_Line):
    """Of a comparison: seeds done."""

    def watch(self, done: int, total: int) -> None:
        """Show the progress, at most five times a second."""
        if self._due():
            left = (time.monotonic() - self._began) * (total - done) / done
            self._show(f"{done} of {total} seeds · ETA {left:.0f} s")


class FigureProgress(_Line):
    """Of a figure: runs, or searches, done."""

    def watch(self, done: int, total: int) -> None:
        """Show the progress, at most five times a second. A new round of runs starts the clock again."""
        if done <= 1:
            self._began = time.monotonic()
        if self._due():
            left = (time.monotonic() - self._began) * (total - done) / done
            self._show(f"{done:,} of {total:,} · ETA {left:.0f} s")


class DownloadProgress(_Line):
    """Of a download: bytes so far, of how many."""

    def watch(self, done: int, total: int | None) -> None:
        """Show the progress, at most five times a second."""
        if self._due():
            whole = f" of {total / 1e6:,.0f} MB · {done / total:.0%}" if total else " MB"
            self._show(f"{done / 1e6:,.0f}{whole}")


class TrialProgress(_Line):
    """Of a study: trials done, how many failed, the best so far and the time left."""

    def __init__(self, trials: int, maximise: bool, *, enabled: bool = True) -> None:
        super().__init__(enabled=enabled)
        self._trials, self._maximise = trials, maximise
        self._ran = self._failed = 0
        self._best: float | None = None

    def watch(self, number: int, value: float | None) -> None:
        """Take note of a trial, whose first objective is ``value``; ``None`` = it did not survive."""
        self._ran += 1
        self._failed += value is None
        if value is not None and (self._best is None or (value > self._best) == self._maximise):
            self._best = value
        if self._enabled:
            left = (self._trials - number - 1) * (time.monotonic() - self._began) / self._ran
            best = "–" if self._best is None else f"{self._best:.4g}"
            self._show(f"{number + 1} of {self._trials} trials · best {best} · {self._failed} did not survive · ETA {left:.0f} s")
