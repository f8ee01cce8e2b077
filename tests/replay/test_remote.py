"""What a router sees of an engine elsewhere: what it last told, and what it was sent since."""

from __future__ import annotations

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

    def send(self, body: bytes, receiver: Any, name: str = "") -> Wires:
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

    def on_failed(self, request: Request, at_s: float, why: str) -> None:
        self.heard.append(("failed", (request.id, why)))

    def on_state(self, engine: RemoteEngine) -> None:
        self.heard.append(("state", engine.state))


class Scene:
    def __init__(self) -> None:
        pool = Scenario.model_validate(
            {
                "model": "llama-3.1-8b",
                "fleet": {"gpu": "h200", "gpus": 1},
                "workload": [{"name": "chat", "trace": {"prompt_tokens": 40, "output_tokens": 8}, "rate": 1, "requests": 9}],
            }
        ).pools[0]
        self.now = 1.0
        self.wires, self.ears = Wires(), Ears()
        bodies = Bodies(Prompts(Workload.make([0.0], [1], [1]), 512, 0), "m", priorities=False, epoch_s=0.0)
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
