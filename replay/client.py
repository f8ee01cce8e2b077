"""The client of an OpenAI-compatible server: token-id prompts in, the number of new tokens out, as they arrive.

Protocol: ``POST /v1/completions`` with ``stream``, and ``stream_options`` that ask for the running count of tokens in every chunk
(vLLM ``entrypoints/openai/completion/serving.py``), so that a chunk with several tokens is counted right. A server that does not
tell is counted one token a chunk, and by the total of its last chunk. Outputs are forced to their length with ``ignore_eos``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from replay.http import Connection, Origin, Pool

_SHOWN = 300
"""Characters of a server's complaint that are kept."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a server tells of a request when it is over. ``None`` = it does not.

    ``queue_s``: from the engine's queue to its first step. ``cached_tokens``: prompt tokens found in the prefix cache.
    ``token_ids``, ``kv_params``: of a request that is not streamed: what it was given, and what a decode engine is to be told.
    """

    tokens: int
    cached_tokens: int | None = None
    queue_s: float | None = None
    token_ids: Sequence[int] = ()
    kv_params: Mapping[str, Any] | None = None


class Receiver(Protocol):
    """Who waits for a completion. Exactly one of ``on_end`` and ``on_failed`` is called, last."""

    def on_tokens(self, tokens: int, at_s: float) -> None: ...
    def on_end(self, ending: Ending, at_s: float) -> None: ...
    def on_failed(self, why: str, at_s: float) -> None: ...


def completion(
    model: str,
    prompt: Sequence[int],
    output_tokens: int,
    *,
    priority: int = 0,
    xargs: Mapping[str, str] | None = None,
    streamed: bool = True,
    kv_params: Mapping[str, Any] | None = None,
) -> bytes:
    """The body of a request for exactly ``output_tokens`` tokens. ``xargs``: goes to the scheduler (vLLM's ``vllm_xargs``).

    ``streamed``: tokens as they come, without their ids; else all at the end, with ids and ``kv_transfer_params``, which vLLM does
    not stream. ``kv_params``: for the engine's KV connector.
    """
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(prompt),
        "max_tokens": output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": streamed,
    }
    body |= {"stream_options": {"include_usage": True, "continuous_usage_stats": True}} if streamed else {"return_token_ids": True}
    if kv_params is not None:
        body["kv_transfer_params"] = dict(kv_params)
    if priority:
        body["priority"] = priority
    if xargs:
        body["vllm_xargs"] = dict(xargs)
    return json.dumps(body, separators=(",", ":")).encode()


class Client:
    """Completions from one server.

    ``now``: the run's clock, by which arrivals of tokens are stamped. ``pulse``: called before each chunk that is read, so that a
    request that is due need not wait until all chunks that have come are read. ``api_key`` goes into the ``Authorization`` header
    and nowhere else: it is blotted out wherever a server sends it back.
    """

    def __init__(
        self, url: str, now: Callable[[], float], *, api_key: str | None = None, pulse: Callable[[], object] = lambda: None
    ) -> None:
        self.origin = Origin(url)
        self._now = now
        self._api_key = api_key
        self._pool = Pool(self.origin, pulse)
        self._open: set[Call] = set()
        authorization = f"Authorization: Bearer {api_key}\r\n" if api_key else ""
        self._head = (
            f"Host: {self.origin.authority}\r\n{authorization}Accept: text/event-stream\r\nContent-Type: application/json\r\n"
        )

    async def warm(self, connections: int) -> None:
        """Open connections ahead of the load.

        Raises:
            OSError: the server cannot be reached.
        """
        await self._pool.warm(connections)

    def send(self, body: bytes, receiver: Receiver, name: str = "", *, streamed: bool = True) -> Call:
        """Send a ``completion`` now. ``name``: what the server's log calls it."""
        named = f"X-Request-Id: {name}\r\n" if name else ""
        head = f"POST {self.origin.path}/v1/completions HTTP/1.1\r\n{self._head}{named}Content-Length: {len(body)}\r\n\r\n"
        call = Call(self, head.encode("latin-1") + body, receiver, streamed=streamed)
        self._open.add(call)
        call.send()
        return call

    @property
    def open_calls(self) -> int:
        """Requests under way."""
        return len(self._open)

    def fail_stalled(self, silence_s: float) -> int:
        """Give up requests that nothing was heard of for so long; returns how many."""
        now = self._now()
        stalled = [call for call in self._open if now - call.heard_s > silence_s]
        for call in stalled:
            call.give_up(f"no answer for {silence_s:g} s")
        return len(stalled)

    def fail_all(self, why: str) -> None:
        """Give up every request under way."""
        for call in list(self._open):
            call.give_up(why)

    def close(self) -> None:
        """Drop all connections; receivers hear nothing more."""
        self._open.clear()
        self._pool.close()

    def blotted(self, text: str) -> str:
        """One line of what a server said, without the key."""
        if self._api_key:
            text = text.replace(self._api_key, "***")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


class Call:
    """One completion under way: reads server-sent events and counts tokens."""

    __slots__ = (
        "_client",
        "_connection",
        "_ending",
        "_error",
        "_opening",
        "_over",
        "_receiver",
        "_request",
        "_rest",
        "_status",
        "_streamed",
        "_tokens",
        "heard_s",
    )

    def __init__(self, client: Client, request: bytes, receiver: Receiver, *, streamed: bool = True) -> None:
        self._client = client
        self._streamed = streamed
        self._request = request
        self._receiver = receiver
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._status = 0
        self._rest = b""
        self._error = b""
        self._tokens = 0
        self._ending: Ending | None = None
        self._over = False
        self.heard_s = client._now()
        """When something was last heard of it."""

    def send(self) -> None:
        self._opening = self._client._pool.send(self._request, self)

    def abort(self) -> None:
        """Let go of the request. The receiver hears nothing more."""
        self._leave()
        if self._connection is not None:
            self._connection.abort()
        elif self._opening is not None:
            self._opening.cancel()

    def give_up(self, why: str) -> None:
        """Let go of the request and tell the receiver why."""
        self.abort()
        self._receiver.on_failed(why, self._client._now())

    # --- Exchange -----------------------------------------------------------------------------------------------------

    def on_sent(self, connection: Connection) -> None:
        self._connection = connection

    def on_status(self, status: int) -> None:
        self._status = status

    def on_body(self, part: bytes) -> None:
        self.heard_s = at_s = self._client._now()
        if self._status != 200:
            self._error += part[: 4 * _SHOWN - len(self._error)]
            return
        if self._rest:
            part = self._rest + part
        if not self._streamed:
            self._rest = part
            return
        *lines, self._rest = part.split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and not self._over:
                self._on_event(line[5:].strip(), at_s)

    def on_end(self) -> None:
        if self._over:
            return
        at_s = self._client._now()
        self._leave()
        if self._status != 200:
            said = self._client.blotted(_complaint(self._error))
            self._receiver.on_failed(f"HTTP {self._status}" + (f": {said}" if said else ""), at_s)
        elif self._streamed:
            self._receiver.on_end(self._ending or Ending(self._tokens), at_s)
        else:
            self._on_answer(at_s)

    def on_lost(self, why: str) -> None:
        if self._over:
            return
        connection, self._connection = self._connection, None
        if connection is not None and connection.exchanges > 1 and not connection.answered:
            # The server had closed the idle connection before the request reached it; the next one is new.
            self._client._pool.discard_idle()
            self.send()
            return
        self._leave()
        self._receiver.on_failed(self._client.blotted(why), self._client._now())

    def _on_answer(self, at_s: float) -> None:
        """The whole of a request that was not streamed."""
        try:
            answer = json.loads(self._rest)
            ending = _ending(answer["usage"]["completion_tokens"], answer["usage"], answer.get("metrics"))
            ids = answer["choices"][0].get("token_ids") or ()
        except (ValueError, KeyError, IndexError, TypeError):
            self._receiver.on_failed("the server's answer is not that of a completion", at_s)
            return
        self._receiver.on_tokens(ending.tokens, at_s)
        self._receiver.on_end(replace(ending, token_ids=ids, kv_params=answer.get("kv_transfer_params")), at_s)

    def _leave(self) -> None:
        self._over = True
        self._client._open.discard(self)

    def _on_event(self, data: bytes, at_s: float) -> None:
        if data == b"[DONE]":
            return
        try:
            event = json.loads(data)
        except ValueError:
            self.give_up("the server sent an event that is not JSON")
            return
        if "error" in event:
            self.give_up(self._client.blotted(f"the server broke off: {_message(event['error'])}"))
            return
        usage, choices = event.get("usage"), event.get("choices")
        if usage is not None:
            counted = usage.get("completion_tokens", self._tokens)
            if not choices:
                self._ending = _ending(counted, usage, event.get("metrics"))
        else:
            counted = self._tokens + (1 if choices else 0)
        if (new := counted - self._tokens) > 0:
            self._tokens = counted
            self._receiver.on_tokens(new, at_s)


def _ending(tokens: int, usage: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> Ending:
    details = usage.get("prompt_tokens_details") or {}
    queue_ms = (metrics or {}).get("queue_time_ms")
    return Ending(tokens, details.get("cached_tokens"), None if queue_ms is None else queue_ms / 1e3)


def _complaint(body: bytes) -> str:
    """The message in an error's body: OpenAI's ``{"error": {"message": …}}``, FastAPI's ``{"detail": …}``, or the body itself."""
    text = body.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return _message(found.get("error", found.get("detail", text))) if isinstance(found, dict) else text


def _message(error: Any) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
