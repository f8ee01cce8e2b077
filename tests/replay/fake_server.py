"""A small OpenAI-compatible server for tests and benchmarks: made-up tokens at a fixed pace, and every fault that a real one has.

``python -m tests.replay.fake_server PORT TPOT_S`` serves until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CHUNK = (
    '{"id":"cmpl-0","object":"text_completion","created":0,"model":"m",'
    '"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":'
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Behaviour:
    """How the server answers; may be changed while it runs.

    ``status``: other than 200 refuses every request, with ``complaint``. ``hang``: take requests, answer nothing. ``cut_after``:
    drop the connection after so many tokens. ``break_after``: send an error event after so many. ``stop_after``: end well after so
    many. ``counted``: tell the running count in each chunk, as vLLM does. ``tokens_per_chunk``: as with speculation. ``garbage``:
    no HTTP. ``idle_s``: close idle connections. ``slots``: requests served at a time, the others wait. ``metrics``: at /metrics.
    """

    ttft_s: float = 0.0
    tpot_s: float = 0.001
    status: int = 200
    complaint: str = ""
    hang: bool = False
    cut_after: int | None = None
    break_after: int | None = None
    stop_after: int | None = None
    counted: bool = True
    tokens_per_chunk: int = 1
    garbage: bool = False
    idle_s: float | None = None
    slots: int = 1 << 30
    metrics: str | None = None


@dataclass
class FakeServer:
    """``seen``: bodies of completion requests in the order of arrival, each with the request's head under ``_head``."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    seen: list[dict[str, object]] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    aborted: int = 0
    finished: int = 0
    prefilled: int = 0
    server: asyncio.Server | None = None
    wheel: Wheel | None = None
    lines: set[_Line] = field(default_factory=set)
    waiting: list[_Line] = field(default_factory=list)

    async def start(self, port: int = 0) -> str:
        loop = asyncio.get_running_loop()
        self.wheel = Wheel(self)
        self.server = await loop.create_server(lambda: _Line(self), "127.0.0.1", port, backlog=4096)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """As if the process had died: nothing is said to anybody."""
        assert self.server is not None
        self.server.close()
        if self.wheel is not None:
            self.wheel.stop()
        for line in list(self.lines):
            line.transport.abort()
        await self.server.wait_closed()
        await asyncio.sleep(0)

    def running(self) -> int:
        return self.open - len(self.waiting)

    def metrics(self) -> str:
        """Prometheus text as vLLM writes it."""
        if self.behaviour.metrics is not None:
            return self.behaviour.metrics
        return (
            "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
            "# TYPE vllm:num_requests_running gauge\n"
            f'vllm:num_requests_running{{engine="0",model_name="m"}} {float(self.running())}\n'
            f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {float(len(self.waiting))}\n'
            'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\n'
            f'vllm:request_success_total{{engine="0",finished_reason="length",model_name="m"}} {float(self.finished)}\n'
            f'vllm:prompt_tokens_total{{engine="0",model_name="m"}} {float(self.prefilled)}\n'
            'vllm:cache_config_info{block_size="32",num_gpu_blocks="1000",engine="0"} 1.0\n'
        )


class Wheel:
    """Writes tokens: each stream is served once a ``tpot_s``, at its own phase of it, a batch of streams per turn."""

    PHASES = 16

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.slots: list[set[_Line]] = [set() for _ in range(self.PHASES)]
        self.at = 0
        self.loop = asyncio.get_running_loop()
        self.due = self.loop.time()
        self.timer = self.loop.call_later(0.001, self.turn)

    def add(self, line: _Line) -> None:
        self.slots[(self.at - 1) % self.PHASES].add(line)

    def remove(self, line: _Line) -> None:
        for slot in self.slots:
            slot.discard(line)

    def stop(self) -> None:
        self.timer.cancel()

    def turn(self) -> None:
        self.at = (self.at + 1) % self.PHASES
        for line in list(self.slots[self.at]):
            line.more()
        self.due = max(self.due + self.server.behaviour.tpot_s / self.PHASES, self.loop.time() - 0.1)
        self.timer = self.loop.call_at(self.due, self.turn)


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.buffer = b""
        self.want = 0
        self.sent = 0
        self.prompt = 0
        self.busy = False
        self.idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections += 1
        self.server.lines.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.lines.discard(self)
        if self.busy:
            self.server.aborted += 1
            self._over()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].decode("latin-1")
        lower = head.lower()
        length = 0
        if (at := lower.find("content-length:")) >= 0:
            length = int(lower[at + 15 :].split("\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
        if self.idle is not None:
            self.idle.cancel()
        self._answer(head, body)

    def _answer(self, head: str, body: bytes) -> None:
        behaviour = self.server.behaviour
        path = head.split(" ", 2)[1]
        if behaviour.hang:
            return
        if path.endswith("/metrics"):
            self._plain(200, self.server.metrics().encode())
        elif path.endswith("/v1/models"):
            self._plain(200, b'{"object":"list","data":[{"id":"m","object":"model"}]}')
        elif not path.endswith("/v1/completions"):
            self._plain(200, b"")
        elif behaviour.garbage:
            self.transport.write(b"this is not HTTP\r\n\r\n")
        else:
            asked = json.loads(body)
            self.server.seen.append({**asked, "_head": head})
            if behaviour.status != 200:
                self._plain(behaviour.status, behaviour.complaint.encode())
                return
            self.busy, self.want, self.sent, self.prompt = True, asked["max_tokens"], 0, len(asked["prompt"])
            self.transport.write(HEAD)
            self.server.open += 1
            self.server.prefilled += self.prompt
            if self.server.running() >= behaviour.slots:
                self.server.waiting.append(self)
            else:
                self._serve()

    def _serve(self) -> None:
        wheel = self.server.wheel
        assert wheel is not None
        asyncio.get_running_loop().call_later(self.server.behaviour.ttft_s, lambda: self.busy and wheel.add(self))

    def more(self) -> None:
        behaviour = self.server.behaviour
        if behaviour.hang:
            return
        if behaviour.cut_after is not None and self.sent >= behaviour.cut_after:
            self.transport.abort()
            return
        if behaviour.break_after is not None and self.sent >= behaviour.break_after:
            self._event('{"error":{"message":"EngineCore encountered an issue","code":500}}')
            self._end()
            return
        self.sent = min(self.sent + behaviour.tokens_per_chunk, self.want)
        last = self.sent >= min(self.want, behaviour.stop_after or self.want)
        text = CHUNK + ('"length"}]' if last else "null}]")
        if behaviour.counted:
            usage = f'"prompt_tokens":{self.prompt},"total_tokens":{self.prompt + self.sent},"completion_tokens":{self.sent}'
            text += f',"usage":{{{usage}}}'
        self._event(text + "}")
        if last:
            usage = f'"prompt_tokens":{self.prompt},"completion_tokens":{self.sent},"prompt_tokens_details":{{"cached_tokens":0}}'
            self._event(f'{{"id":"cmpl-0","choices":[],"usage":{{{usage}}}}}')
            self._end()

    def _event(self, text: str) -> None:
        data = f"data: {text}\n\n".encode()
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end(self) -> None:
        data = b"data: [DONE]\n\n"
        self.transport.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
        self.server.finished += 1
        self._over()
        self._rest()

    def _over(self) -> None:
        self.busy = False
        self.server.open -= 1
        if self in self.server.waiting:
            self.server.waiting.remove(self)
        wheel = self.server.wheel
        assert wheel is not None
        wheel.remove(self)
        if self.server.waiting and self.server.running() < self.server.behaviour.slots:
            self.server.waiting.pop(0)._serve()

    def _plain(self, status: int, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        self._rest()

    def _rest(self) -> None:
        if (idle_s := self.server.behaviour.idle_s) is not None:
            self.idle = asyncio.get_running_loop().call_later(idle_s, self.transport.close)


@asynccontextmanager
async def fake_server(behaviour: Behaviour | None = None) -> AsyncIterator[tuple[FakeServer, str]]:
    """A server in this process, on a free port of the loopback."""
    server = FakeServer(behaviour or Behaviour())
    url = await server.start()
    try:
        yield server, url
    finally:
        await server.stop()


async def _serve(port: int, tpot_s: float) -> None:
    server = FakeServer(Behaviour(tpot_s=tpot_s))
    print(await server.start(port), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
