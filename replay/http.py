"""HTTP/1.1 for thousands of streamed responses in one process: keep-alive connections, one exchange at a time on each.

Plain ``asyncio`` protocols rather than an HTTP library, because chunks are what a replay reads most of (``python -m
benchmarks.dispatch`` tells what one costs).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

_LONGEST_HEAD = 1 << 16


class Exchange(Protocol):
    """Who waits for a response. ``on_sent`` tells on which connection the request goes out.

    Exactly one of ``on_end`` and ``on_lost`` is called, once, and nothing after it.
    """

    def on_sent(self, connection: Connection) -> None: ...
    def on_status(self, status: int) -> None: ...
    def on_body(self, part: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_lost(self, why: str) -> None: ...


class Origin:
    """Scheme, host and port of a server's URL, and the path that its endpoints stand below."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self.host = parts.hostname or ""
        self.tls = parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self.path = parts.path.rstrip("/")
        self.authority = parts.netloc.rpartition("@")[2]


class Connection(asyncio.Protocol):
    """One connection. ``pulse`` is called before each received part is looked at."""

    def __init__(
        self, release: Callable[[Connection], None], drop: Callable[[Connection], None], pulse: Callable[[], object]
    ) -> None:
        self._release = release
        self._drop = drop
        self._pulse = pulse
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._buffer = b""
        self._in_body = False
        self._chunked = False
        self._left: int | None = None
        """Bytes of the body that are still to come; ``None`` = until the connection ends."""
        self._keep = True
        self._closing = False
        self.exchanges = 0
        self.answered = False
        """Whether a byte of the present response has come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Write a whole request; ``exchange`` hears of the response."""
        assert self._transport is not None
        assert self._exchange is None
        self._exchange = exchange
        self.exchanges += 1
        self.answered = False
        exchange.on_sent(self)
        self._transport.write(request)

    def abort(self) -> None:
        """Drop the connection; a server takes that as the end of the client's interest."""
        self._exchange = None
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._pulse()
        if self._exchange is None:
            self.abort()  # nobody asked
            return
        self.answered = True
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        try:
            if not self._in_body:
                found = self._read_head(data)
                if found is None:
                    return
                data = found
            self._read_body(data)
        except ValueError:
            self._fail("answered in what is not HTTP/1.1")

    def connection_lost(self, error: Exception | None) -> None:
        self._drop(self)
        self._closing = True
        if self._exchange is None:
            return
        if self._in_body and self._left is None and not self._chunked and error is None:
            self._finish()
        else:
            self._fail("connection lost" if error is None else f"connection lost: {reason(error)}")

    def _read_head(self, data: bytes) -> bytes | None:
        """Status line and headers, once they are all there; returns what follows them."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _LONGEST_HEAD:
                raise ValueError("head too long")
            self._buffer = data
            return None
        lines = data[:end].decode("latin-1").split("\r\n")
        version, status, *_ = lines[0].split(" ", 2)
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._left = None if self._chunked or "content-length" not in headers else int(headers["content-length"])
        self._keep = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close").lower() != "close"
        self._in_body = True
        assert self._exchange is not None
        self._exchange.on_status(int(status))
        return data[end + 4 :]

    def _read_body(self, data: bytes) -> None:
        if self._chunked:
            self._read_chunks(data)
            return
        if data and self._exchange is not None:
            self._exchange.on_body(data if self._left is None else data[: self._left])
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._finish()

    def _read_chunks(self, data: bytes) -> None:
        at = 0
        while self._exchange is not None:
            line = data.find(b"\r\n", at)
            if line < 0:
                break
            size = int(data[at:line].split(b";", 1)[0], 16)
            start, end = line + 2, line + 2 + size
            if len(data) < end + 2:
                break
            if size == 0:
                self._finish()  # trailers are not used by these servers
                return
            self._exchange.on_body(data[start:end])
            at = end + 2
        self._buffer = data[at:]

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        self._in_body, self._buffer = False, b""
        if self._keep and not self._closing:
            self._release(self)
        else:
            self.abort()
        if exchange is not None:
            exchange.on_end()

    def _fail(self, why: str) -> None:
        exchange, self._exchange = self._exchange, None
        self.abort()
        if exchange is not None:
            exchange.on_lost(why)


class Pool:
    """Connections to one origin, as many as there are exchanges under way; an idle one is used again, the last used first."""

    def __init__(self, origin: Origin, pulse: Callable[[], object] = lambda: None) -> None:
        self._origin = origin
        self._pulse = pulse
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._address: tuple[socket.AddressFamily, tuple[str, int]] | None = None
        self._tls = ssl.create_default_context() if origin.tls else None
        self._closed = False

    async def warm(self, connections: int) -> None:
        """Open so many idle connections.

        Raises:
            OSError: the server cannot be reached.
        """
        for _ in range(connections):
            self._idle.append(await self._connect())

    def send(self, request: bytes, exchange: Exchange) -> asyncio.Task[None] | None:
        """Send on an idle connection, at once, or on one that is opened for it by the task that is returned."""
        if self._idle:
            self._idle.pop().send(request, exchange)
            return None
        task = asyncio.get_running_loop().create_task(self._send_on_new(request, exchange))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return task

    def discard_idle(self) -> None:
        """Close idle connections; a server that closed one of them is likely to have closed all."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def close(self) -> None:
        """Drop every connection. Exchanges under way hear nothing more."""
        self._closed = True
        for task in self._opening:
            task.cancel()
        for connection in list(self._all):
            connection.abort()

    async def _send_on_new(self, request: bytes, exchange: Exchange) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            exchange.on_lost(f"connection refused: {reason(error)}")
            return
        connection.send(request, exchange)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if self._address is None:
            found = await loop.getaddrinfo(self._origin.host, self._origin.port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            self._address = family, (str(address[0]), int(address[1]))
        plain = socket.socket(self._address[0], socket.SOCK_STREAM)
        try:
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(plain, self._address[1])
        except BaseException:
            plain.close()
            raise
        _, connection = await loop.create_connection(
            lambda: Connection(self._released, self._dropped, self._pulse),
            sock=plain,
            ssl=self._tls,
            server_hostname=self._origin.host if self._tls else None,
        )
        self._all.add(connection)
        if self._closed:
            connection.abort()
        return connection

    def _released(self, connection: Connection) -> None:
        self._idle.append(connection)

    def _dropped(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def reason(error: BaseException) -> str:
    """What happened, in a few words."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)


class _Whole:
    """Collects a response."""

    def __init__(self, answer: asyncio.Future[tuple[int, bytes]]) -> None:
        self._answer = answer
        self._status = 0
        self._parts: list[bytes] = []

    def on_sent(self, connection: Connection) -> None:
        pass

    def on_status(self, status: int) -> None:
        self._status = status

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_end(self) -> None:
        if not self._answer.done():
            self._answer.set_result((self._status, b"".join(self._parts)))

    def on_lost(self, why: str) -> None:
        if not self._answer.done():
            self._answer.set_exception(ConnectionError(why))


async def get(url: str, path: str, *, api_key: str | None = None, timeout_s: float = 5.0) -> tuple[int, bytes]:
    """Status and body of ``GET url/path`` on a connection of its own.

    Raises:
        OSError: the server cannot be reached, breaks off, or takes too long.
    """
    return await _once("GET", url, path, f"Authorization: Bearer {api_key}\r\n" if api_key else "", timeout_s)


async def post(url: str, path: str, *, timeout_s: float) -> tuple[int, bytes]:
    """Status and body of a ``POST`` without a body of its own; raises as ``get`` does."""
    return await _once("POST", url, path, "Content-Length: 0\r\n", timeout_s)


async def _once(method: str, url: str, path: str, header: str, timeout_s: float) -> tuple[int, bytes]:
    origin = Origin(url)
    pool = Pool(origin)
    request = f"{method} {origin.path}{path} HTTP/1.1\r\nHost: {origin.authority}\r\n{header}Connection: close\r\n\r\n"
    answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    pool.send(request.encode("latin-1"), _Whole(answer))
    try:
        async with asyncio.timeout(timeout_s):
            return await answer
    finally:
        pool.close()
