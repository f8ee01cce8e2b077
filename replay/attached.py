"""Servers that are there already: asked what they are, watched through their metrics, and left alone at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from replay.http import get, reason
from replay.prometheus import ServerState, server_state
from replay.remote import RemoteEngine
from traces.errors import InputError

INTERVAL_S = 0.25
"""Between two looks at a server's metrics, unless the scenario says otherwise."""
_TIMEOUT_S = 5.0
_MISSES = 3
"""So many looks in a row without an answer, and the engine counts as failed."""


async def served_model(url: str, api_key: str | None) -> str:
    """What the server calls its (first) model.

    Raises:
        InputError: it does not answer, or not as an OpenAI-compatible server does.
    """
    try:
        status, body = await get(url, "/v1/models", api_key=api_key, timeout_s=_TIMEOUT_S)
    except OSError as error:
        raise InputError(f"replay.urls: {url} does not answer ({reason(error)}); start the server, or correct the URL") from None
    if status in (401, 403):
        raise InputError(
            f"replay.urls: {url} wants an API key (HTTP {status}); name the variable that holds it in replay.api_key_env"
        )
    try:
        return str(json.loads(body)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise InputError(
            f"replay.urls: {url} lists no model (HTTP {status}); give the URL of an OpenAI-compatible server"
        ) from None


async def look(url: str, api_key: str | None) -> ServerState | None:
    """The server's state; ``None`` when it publishes none.

    Raises:
        OSError: it does not answer.
    """
    status, body = await get(url, "/metrics", api_key=api_key, timeout_s=_TIMEOUT_S)
    return server_state(body.decode("utf-8", "replace")) if status == 200 else None


async def watch(
    engine: RemoteEngine, url: str, api_key: str | None, now: Callable[[], float], interval_s: float = INTERVAL_S
) -> None:
    """Tell ``engine`` what its server publishes, and whether it answers at all, until cancelled."""
    missed = 0
    while True:
        began_s = now()
        try:
            state = await look(url, api_key)
        except OSError as error:
            missed += 1
            if missed == _MISSES:
                engine.failed(f"the server does not answer: {reason(error)}")
        else:
            missed = 0
            engine.recovered()
            if state is not None:
                engine.told_metrics(state, began_s)
        await asyncio.sleep(max(0.0, began_s + interval_s - now()))
