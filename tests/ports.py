"""Ports for servers under test."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

_BELOW_THE_SYSTEM_S = range(15_000, 32_000)
"""The system hands out higher ones, to clients too, so that a port found free there may be gone a moment later."""


def free_ports(count: int = 1) -> int:
    """The first of so many neighbours that nobody uses. Other test processes try at other places."""
    places = random.SystemRandom()
    for _ in range(1000):
        first = places.choice(_BELOW_THE_SYSTEM_S)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError(f"no {count} free ports")
