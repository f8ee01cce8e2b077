"""The one exception that a user's input can cause: it says where the fault is and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LONGEST = 2000


class InputError(Exception):
    """One or more faults in what the user gave. ``faults``: one line each, "where: what is wrong; what to do".

    The command line prints the lines on stderr and exits with code 2; no traceback reaches the user. Whatever a fault quotes, be it
    a file's content or a library's message, it stays one line of
    bounded length, and sends the terminal no control characters.
    """

    def __init__(self, *faults: str) -> None:
        self.faults: Sequence[str] = tuple(_one_line(fault) for fault in faults)
        super().__init__("\n".join(self.faults))

    def __reduce__(self) -> tuple[Any, ...]:
        """Faults stay apart on their way between processes."""
        return type(self), tuple(self.faults)


def _one_line(text: str) -> str:
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "�" for c in " ".join(text.splitlines()).rstrip())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
