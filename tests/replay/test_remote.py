"""What a router sees of an engine elsewhere: what it last told, and what it was sent since."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.types import EngineState
from policies.views import NOT_HELD
from replay.client import Ending
from replay.prometheus import ServerState
from replay.prompts import Prompts
from replay.remote import Bodies, RemoteEngine
from replay.request import Request
from traces.scenario import Scenario
from traces.workload import RequestClass, Workload


class Wires:
    """A client that goes nowhere."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.aborted = 0

    def send(self, body: bytes, receiver: Any, name: str = "", *, streamed: bool = True) -> Wires:
        self.sent.append((body, receiver))
        return self

    def abort(self) -> None:
        self.aborted += 1

    def fail_all(self, why: str) -> None:
        for _, receiver in self.sent:
            receiver.on_failed(why, 9.0)

    def close(self) -> None:
        pass


class Ears:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def on_token(self, request: Request, tokens: int, at_s: float) -> None:
        request.emitted(tokens, at_s)

    def on_finished(self, request: Request, at_s: float) -> None:
        self.heard.append(("finished", request.id))

    def on_prefilled(self, request: Request, at_s: float) -> None:
        self.heard.append(("prefilled", request.id))

    def on_failed(self, request: Request, at_s: float, why: str) -> None:
        self.heard.append(("failed", (request.id, why)))

    def on_state(self, engine: RemoteEngine) -> None:
        self.heard.append(("state", engine.state))


class Scene:
    def __init__(self, role: str = "both", *, by_file: bool = True) -> None:
        pools = Scenario.model_validate(
            {
                "model": "llama-3.1-8b",
                "fleet": [{"gpu": "h200", "gpus": 1, "role": one} for one in ("both", "prefill", "decode")],
                "workload": [{"name": "chat", "trace": {"prompt_tokens": 40, "output_tokens": 8}, "rate": 1, "requests": 9}],
            }
        ).pools
        pool = next(pool for pool in pools if pool.role == role)
        self.now = 1.0
        self.wires, self.ears = Wires(), Ears()
        bodies = Bodies(Prompts(Workload.make([0.0], [1], [1]), 512, 0), "m", priorities=False, epoch_s=0.0, by_file=by_file)
        wires: Any = self.wires
        self.engine = RemoteEngine(0, pool, wires, bodies, self.ears, NOT_HELD, lambda: self.now)

    def send(self, id: int, prompt: int = 40, output: int = 3) -> Request:
        request = Request(id, RequestClass(model="llama-3.1-8b"), 0, self.now, prompt, output)
        self.engine.submit(request)
        return request


@pytest.fixture
def scene() -> Scene:
    return Scene()


def state(as_of_s: float, running: list[list[Any]], waiting: list[list[Any]], **over: Any) -> dict[str, Any]:
    return {
        "engine": "e0", "as_of_s": as_of_s, "step": 7, "step_ends_s": as_of_s + 0.01, "running_count": len(running),
        "waiting_count": len(waiting), "pending_prefill_tokens": 0, "kv_tokens_used": 64, "kv_tokens_capacity": 6400,
        "block_tokens": 32, "max_seqs": 16, "max_batched_tokens": 256, "running": running, "waiting": waiting, **over,
    }  # fmt: skip


def test_what_was_sent_counts_as_waiting_until_the_engine_tells(scene: Scene) -> None:
    scene.send(1, prompt=40)
    view = scene.engine.view
    assert (view.waiting_count, view.running_count, view.pending_prefill_tokens) == (1, 0, 40)
    scene.engine.told_state(state(1.5, [[1, 40, 32, 2, 1.2]], []))
    view = scene.engine.view
    assert (view.waiting_count, view.running_count) == (0, 1)
    (request,) = view.running
    assert (request.id, request.prefilled_tokens, request.cached_tokens, request.generated_tokens) == (1, 40, 32, 2)
    assert (view.as_of_s, view.step, view.kv_tokens_used, view.kv_tokens_capacity) == (1.5, 7, 64, 6400)


def test_a_state_that_was_told_on_the_way_does_not_lose_a_request(scene: Scene) -> None:
    scene.send(1)
    scene.now = 2.0
    scene.send(2)
    scene.engine.told_state(state(1.9, [[1, 40, 0, 1, 1.5]], []))
    assert [request.id for request in scene.engine.view.waiting] == [2]


def test_a_request_that_left_the_engine_is_not_waiting_again(scene: Scene) -> None:
    request = scene.send(1)
    scene.wires.sent[0][1].on_tokens(3, 1.4)
    assert request.generated_tokens == 3
    scene.engine.told_state(state(1.5, [], []))
    assert scene.engine.view.waiting_count == 0


def test_strangers_count_and_are_not_shown(scene: Scene) -> None:
    scene.engine.told_state(state(1.5, [[-1, 5, 0, 1, 1.0]], []))
    view = scene.engine.view
    assert view.running_count == 1
    assert list(view.running) == []


def test_metrics_count_everybody_s_requests(scene: Scene) -> None:
    scene.send(1)
    scene.send(2, prompt=60)
    scene.wires.sent[0][1].on_tokens(1, 1.2)
    scene.now = 2.0
    scene.send(3)
    scene.engine.told_metrics(ServerState(5, 2, 0.5, 3200, 32, 0, 0, 0, 0), 1.5)
    view = scene.engine.view
    assert (view.running_count, view.waiting_count) == (5, 3)
    assert [request.id for request in view.running] == [1]
    assert [request.id for request in view.waiting] == [2, 3]
    assert (view.kv_tokens_used, view.kv_tokens_capacity, view.as_of_s) == (1600, 3200, 1.5)


def test_all_tokens_are_a_completion_and_fewer_a_failure(scene: Scene) -> None:
    scene.send(1, output=3)
    scene.send(2, output=3)
    for (_, receiver), tokens in zip(scene.wires.sent, (3, 2), strict=True):
        receiver.on_tokens(tokens, 1.5)
        receiver.on_end(Ending(tokens, cached_tokens=16), 1.6)
    assert scene.ears.heard == [("finished", 1), ("failed", (2, "the server ended it after 2 of 3 tokens"))]
    assert scene.engine.open == {}


def test_a_failed_engine_fails_what_it_had_and_can_come_back(scene: Scene) -> None:
    scene.send(1)
    scene.engine.failed("gone")
    assert scene.engine.view.state is EngineState.FAILED
    scene.engine.recovered()
    assert scene.ears.heard == [("state", EngineState.FAILED), ("failed", (1, "gone")), ("state", EngineState.ACTIVE)]


def test_an_aborted_request_is_forgotten(scene: Scene) -> None:
    request = scene.send(1)
    scene.engine.abort(request)
    scene.engine.abort(request)
    assert scene.wires.aborted == 1
    assert scene.engine.open == {}


def body(scene: Scene, index: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scene.wires.sent[index][0])
    return found


def test_a_prefill_engine_is_asked_for_one_token_and_its_id() -> None:
    scene = Scene("prefill")
    request = scene.send(1, output=3)
    assert (body(scene)["max_tokens"], body(scene)["stream"], body(scene)["return_token_ids"]) == (1, False, True)
    receiver = scene.wires.sent[0][1]
    receiver.on_tokens(1, 1.5)
    receiver.on_end(Ending(1, token_ids=[77], kv_params={"remote_block_ids": [4]}), 1.5)
    assert scene.ears.heard == [("prefilled", 1)]
    assert (request.answer, request.kv_params) == ([77], {"remote_block_ids": [4]})


@pytest.mark.parametrize("by_file", [True, False], ids=["files", "nixl"])
def test_a_decode_engine_goes_on_where_the_prefill_engine_stopped(by_file: bool) -> None:
    scene = Scene("decode", by_file=by_file)
    request = Request(1, RequestClass(model="llama-3.1-8b"), 0, 1.0, 40, 3)
    request.emitted(1, 1.2)
    request.answer, request.kv_engine, request.kv_params = [77], "e9", None if by_file else {"remote_host": "h"}
    scene.engine.submit(request)
    sent = body(scene)
    receiver = scene.wires.sent[0][1]
    if by_file:
        assert (len(sent["prompt"]), sent["prompt"][-1], sent["max_tokens"]) == (41, 77, 2)
        receiver.on_tokens(2, 1.4)
    else:  # vLLM's decode side computes the first token again; it is not counted twice
        assert (len(sent["prompt"]), sent["max_tokens"], sent["kv_transfer_params"]) == (40, 3, {"remote_host": "h"})
        receiver.on_tokens(1, 1.3)
        receiver.on_tokens(2, 1.4)
    receiver.on_end(Ending(sent["max_tokens"]), 1.5)
    assert scene.ears.heard == [("finished", 1)]
    assert request.token_s.tolist() == [1.2, 1.4, 1.4]


def test_a_request_that_starts_over_brings_what_it_was_given_along(scene: Scene) -> None:
    request = scene.send(1, output=3)
    scene.wires.sent[0][1].on_tokens(1, 1.2)
    assert scene.engine.lose() == [request]
    assert (scene.wires.aborted, scene.engine.empty) == (1, True)
    request.restart()
    scene.engine.submit(request)
    assert (len(body(scene)["prompt"]), body(scene)["max_tokens"]) == (41, 2)
    told = json.loads(body(scene)["vllm_xargs"]["twinserve"])
    assert (told["given_tokens"], told["first_token_s"]) == (1, 1.2)
    scene.wires.sent[1][1].on_tokens(2, 2.0)
    scene.wires.sent[1][1].on_end(Ending(2), 2.0)
    assert scene.ears.heard == [("finished", 1)]
