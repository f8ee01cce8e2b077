"""The one exception that a user's input can cause: it says where the fault is and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(Exception):
    """One or more faults in what the user gave. ``faults``: one line each, "where: what is wrong; what to do".

    The command line prints the lines on stderr and exits with code 2; no traceback reaches the user.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults: Sequence[str] = faults
