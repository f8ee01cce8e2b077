"""The client against the fake server: tokens are counted as they come, and whatever goes wrong is told once, in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from replay.client import Client, Ending, completion
from tests.replay.fake_server import Behaviour, FakeServer, fake_server

KEY = "sk-very-secret"


class Heard:
    """A receiver that writes everything down."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.ending: Ending | None = None
        self.failed: list[str] = []
        self.over = asyncio.Event()

    def on_tokens(self, tokens: int, at_s: float) -> None:
        assert not self.over.is_set()
        self.tokens.append(tokens)

    def on_end(self, ending: Ending, at_s: float) -> None:
        assert not self.over.is_set()
        self.ending = ending
        self.over.set()

    def on_failed(self, why: str, at_s: float) -> None:
        assert not self.over.is_set()
        self.failed.append(why)
        self.over.set()


Play = Callable[[FakeServer, Client], Awaitable[None]]


def play(behaviour: Behaviour, scene: Play) -> None:
    async def run() -> None:
        async with fake_server(behaviour) as (server, url):
            client = Client(url, time.monotonic, api_key=KEY)
            try:
                async with asyncio.timeout(20):
                    await scene(server, client)
            finally:
                client.close()

    asyncio.run(run())


async def ask(client: Client, tokens: int = 5) -> Heard:
    heard = Heard()
    client.send(completion("m", [17, 18, 19], tokens, xargs={"twinserve": "{}"}), heard)
    await heard.over.wait()
    return heard


def complaint(behaviour: Behaviour, tokens: int = 5) -> str:
    """What a single request is told in the end."""
    found: list[str] = []

    async def scene(_: FakeServer, client: Client) -> None:
        heard = await ask(client, tokens)
        assert heard.ending is None
        found.extend(heard.failed)
        assert client.open_calls == 0

    play(behaviour, scene)
    (why,) = found
    assert KEY not in why
    return why


def test_a_request_carries_its_prompt_its_length_and_what_the_scheduler_is_told() -> None:
    async def scene(server: FakeServer, client: Client) -> None:
        await ask(client, 4)
        (seen,) = server.seen
        assert seen["prompt"] == [17, 18, 19]
        assert seen["max_tokens"] == 4
        assert seen["ignore_eos"] is True
        assert seen["vllm_xargs"] == {"twinserve": "{}"}
        assert f"Authorization: Bearer {KEY}" in str(seen["_head"])

    play(Behaviour(), scene)


@pytest.mark.parametrize("counted", [True, False])
def test_every_token_is_counted(counted: bool) -> None:
    async def scene(_: FakeServer, client: Client) -> None:
        heard = await ask(client, 7)
        assert sum(heard.tokens) == 7
        assert heard.ending is not None
        assert heard.ending.tokens == 7

    play(Behaviour(counted=counted), scene)


def test_tokens_that_come_together_are_counted_together() -> None:
    async def scene(_: FakeServer, client: Client) -> None:
        assert (await ask(client, 7)).tokens == [3, 3, 1]

    play(Behaviour(tokens_per_chunk=3), scene)


def test_a_server_that_only_tells_the_total_is_believed_in_the_end() -> None:
    async def scene(_: FakeServer, client: Client) -> None:
        heard = await ask(client, 7)
        assert heard.tokens == [1, 1, 1, 4]

    play(Behaviour(tokens_per_chunk=3, counted=False), scene)


def test_connections_are_used_again() -> None:
    async def scene(server: FakeServer, client: Client) -> None:
        for _ in range(5):
            await ask(client)
        assert server.connections == 1

    play(Behaviour(), scene)


def test_an_idle_connection_that_the_server_closed_costs_no_request() -> None:
    async def scene(server: FakeServer, client: Client) -> None:
        for _ in range(20):
            heard = await ask(client, 2)
            assert heard.failed == []
            await asyncio.sleep(0.002)
        assert server.connections > 1

    play(Behaviour(idle_s=0.002, tpot_s=0.0005), scene)


def test_many_streams_at_once() -> None:
    async def scene(_: FakeServer, client: Client) -> None:
        every = await asyncio.gather(*(ask(client, 5) for _ in range(300)))
        assert all(sum(heard.tokens) == 5 for heard in every)

    play(Behaviour(), scene)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_is_told_with_the_server_s_words(status: int) -> None:
    why = complaint(Behaviour(status=status, complaint='{"error": {"message": "too many\\nrequests", "code": 429}}'))
    assert why == f"HTTP {status}: too many requests"


def test_a_complaint_in_any_form_is_one_line_without_the_key() -> None:
    assert complaint(Behaviour(status=401, complaint=f'{{"detail": "bad key {KEY}"}}')) == "HTTP 401: bad key ***"
    assert complaint(Behaviour(status=502, complaint="<html>\n<b>Bad gateway</b>")) == "HTTP 502: <html> <b>Bad gateway</b>"
    assert complaint(Behaviour(status=500)) == "HTTP 500"


def test_a_lost_connection_is_told() -> None:
    assert "connection lost" in complaint(Behaviour(cut_after=2))


def test_an_error_in_the_stream_is_told() -> None:
    assert complaint(Behaviour(break_after=2)) == "the server broke off: EngineCore encountered an issue"


def test_a_server_that_speaks_no_http_is_told() -> None:
    assert complaint(Behaviour(garbage=True)) == "answered in what is not HTTP/1.1"


def test_a_server_that_is_not_there_is_told() -> None:
    async def run() -> list[str]:
        async with fake_server() as (_, url):
            pass
        heard = await ask(Client(url, time.monotonic))
        return heard.failed

    (why,) = asyncio.run(run())
    assert why.startswith("connection refused")


def test_silence_ends_by_giving_up() -> None:
    async def scene(_: FakeServer, client: Client) -> None:
        heard = Heard()
        client.send(completion("m", [17], 5), heard)
        client.fail_stalled(1000.0)
        assert heard.failed == []
        await asyncio.sleep(0.01)
        client.fail_stalled(0.005)
        assert heard.failed == ["no answer for 0.005 s"]

    play(Behaviour(hang=True), scene)


def test_an_aborted_request_is_over_for_the_server_too_and_says_nothing_more() -> None:
    async def scene(server: FakeServer, client: Client) -> None:
        heard = Heard()
        call = client.send(completion("m", [17], 10_000), heard)
        while not heard.tokens:
            await asyncio.sleep(0.001)
        call.abort()
        told = len(heard.tokens)
        while server.open:
            await asyncio.sleep(0.001)
        assert server.aborted == 1
        assert len(heard.tokens) == told
        assert not heard.over.is_set()

    play(Behaviour(), scene)
