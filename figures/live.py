"""What is drawn anew a few times a second on a terminal's stderr while something takes its time; elsewhere nothing is."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group

if TYPE_CHECKING:
    from rich.live import Live

_PER_SECOND = 4


class Drawn:
    """As long as the context lasts, ``drawn`` is on the screen, as it is at the moment."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._began = time.monotonic()
        self._live: Live | None = None

    @property
    def elapsed_s(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    def drawn(self) -> Group:
        """What is to be seen now."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._enabled:
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(console=console, transient=True, refresh_per_second=_PER_SECOND, get_renderable=self.drawn)
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
