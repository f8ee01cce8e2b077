"""Ports of servers that a run starts: taken before the first server starts, and nobody else's until the last one has ended."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from traces.errors import InputError

HOST = "127.0.0.1"
_LAST = 65535


@contextmanager
def reserved(first: int, count: int) -> Iterator[None]:
    """Hold ``count`` ports from ``first`` on, which only servers that name them can use: the system hands them to no one.

    Elsewhere than on Linux a held port could not be served on; there they are only looked at.

    Raises:
        InputError: one is in use, may not be used, or does not exist.
    """
    if first + count - 1 > _LAST:
        raise InputError(f"replay.port: {count} ports from {first} on go beyond {_LAST}; choose a lower one")
    with ExitStack() as held:
        for port in range(first, first + count):
            holder = held.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind((HOST, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                why = "is in use" if error.errno == errno.EADDRINUSE else "may not be used"
                raise InputError(f"replay.port: port {port} {why}; stop what listens there, or choose another") from None
        if sys.platform != "linux":
            held.close()
        yield
