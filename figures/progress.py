"""Progress of a run on stderr: simulated time, requests done, time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.run import Progress

_EVERY_S = 0.2


class RunProgress:
    """One line that is rewritten on a terminal; silent where stderr is none, so that logs stay clean."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._began = self._shown = time.monotonic()
        self._wrote = False

    def __enter__(self) -> RunProgress:
        return self

    def watch(self, progress: Progress) -> None:
        """Show the progress, at most five times a second."""
        now = time.monotonic()
        if not self._enabled or now - self._shown < _EVERY_S:
            return
        self._shown = now
        self._wrote = True
        share = progress.requests / progress.offered
        left = (now - self._began) * (1 - share) / share if share > 0 else None
        eta = "–" if left is None else f"{left:.0f} s"
        sys.stderr.write(
            f"\r{share:6.1%} · simulated {progress.now_s:,.0f} s · {progress.requests:,} of {progress.offered:,} requests · ETA {eta}   "
        )
        sys.stderr.flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._wrote:
            sys.stderr.write("\r" + " " * 100 + "\r")
            sys.stderr.flush()
