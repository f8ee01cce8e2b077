"""The scheduler plug-in on vLLM's scheduler: faulty policies, standing plans, what it reports, and the async scheduler."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from policies.decisions import StepPlan
from policies.types import EngineView
from policies.views import Engine
from replay.report import FileReport
from replay.wire import Settings, read_log, seen_of, state_message, step_of
from tests.parity.steered import SteeredSide
from tests.parity.vllm_side import VLLMSide

KNOBS = {"max_seqs": 4, "budget": 20, "block": 4, "blocks": 40}


class Answering:
    """A batcher that answers what a function of the call's number says, and counts its calls."""

    def __init__(self, answer: object) -> None:
        self.calls = 0
        self._answer = answer

    def plan(self, engine: EngineView) -> StepPlan:
        self.calls += 1
        return self._answer(engine, self.calls)  # type: ignore[no-any-return, operator]


def boom(engine: EngineView, call: int) -> StepPlan:
    raise RuntimeError("boom\nsecond line")


def think(engine: EngineView, call: int) -> StepPlan:
    while True:  # a policy that never ends
        pass


FAULTY = {
    "raises": (boom, "raised RuntimeError: boom"),
    "answers nonsense": (lambda engine, call: "fast", "no StepPlan"),
    "bad budget": (lambda engine, call: StepPlan(-1), "a token budget of -1"),
    "bad caps": (lambda engine, call: StepPlan(9, caps={1: -1}), "a cap that is not a number"),
    "never ends": (think, "longer than its deadline of 20 ms"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_policy_costs_its_plan_and_not_the_engine(fault: str, model: Path) -> None:
    answer, words = FAULTY[fault]
    batcher = Answering(answer)
    ours, plain = SteeredSide(model, batcher, deadline_s=0.02, **KNOBS), VLLMSide(model, **KNOBS)
    for side in (ours, plain):
        for id in range(6):
            side.add(id, range(100 * id, 100 * id + 11), 9)
    steps = 0
    while plain.scheduler.running or plain.scheduler.waiting:
        assert ours.schedule() == plain.schedule()
        assert ours.advance() == plain.advance()
        steps += 1
    assert ours.heard.faults
    assert all(words in text and "\n" not in text and "without it" in text for text in ours.heard.faults)
    assert batcher.calls == len(ours.heard.faults) < steps / 2  # a failing policy is asked less and less


def test_a_plan_stands_until_something_happens(model: Path) -> None:
    batcher = Answering(lambda engine, call: StepPlan(20))
    side = SteeredSide(model, batcher, **KNOBS)
    side.add(0, range(8), 10)
    calls = []
    for step in range(10):
        if step == 5:
            side.add(1, range(50, 58), 2)
        side.schedule()
        side.advance()
        calls.append(batcher.calls)
    # asked for the arrival, after the first token, for the second arrival, after its first token and its end
    assert calls == [1, 2, 2, 2, 2, 3, 4, 5, 5, 5]


def test_a_plan_is_asked_for_again_after_its_valid_steps(model: Path) -> None:
    batcher = Answering(lambda engine, call: StepPlan(20, valid_steps=3))
    side = SteeredSide(model, batcher, **KNOBS)
    side.add(0, range(8), 10)
    calls = []
    for _ in range(9):
        side.schedule()
        side.advance()
        calls.append(batcher.calls)
    assert calls == [1, 2, 2, 2, 3, 3, 3, 4, 4]


def test_the_view_tells_what_the_scheduler_holds(model: Path) -> None:
    side = SteeredSide(model, Answering(lambda engine, call: StepPlan(20)), **KNOBS)
    for id in range(3):
        side.add(id, range(100 * id, 100 * id + 15), 4)
    view = side.view
    assert (view.waiting_count, view.pending_prefill_tokens, view.kv_tokens_used, view.kv_tokens_capacity) == (3, 45, 0, 160)
    side.schedule()
    assert [r.id for r in view.running] == [0, 1]
    assert [r.prefilled_tokens for r in view.running] == [0, 0]  # the step is under way
    side.advance()
    assert [(r.prefilled_tokens, r.generated_tokens) for r in view.running] == [(15, 1), (5, 0)]
    assert view.pending_prefill_tokens == 25
    assert view.kv_tokens_used == 16 + 8
    assert view.running[0].slo.ttft_s == 1.0


def test_steps_and_departures_are_reported(model: Path) -> None:
    side = SteeredSide(model, Answering(lambda engine, call: StepPlan(20)), **KNOBS)
    side.add(7, range(25), 3)
    for _ in range(4):
        side.schedule()
        side.advance()
    rows = [(s.step, *s[3:8]) for s in side.heard.steps]
    assert rows == [(0, 20, 200.0, 1, 0, 0), (1, 5, 112.5, 1, 0, 0), (2, 0, 0.0, 0, 1, 26), (3, 0, 0.0, 0, 1, 27)]
    assert [left.id for left in side.heard.gone] == [7]
    assert side.heard.states == 4


def test_an_aborted_request_is_reported_too(model: Path) -> None:
    side = SteeredSide(model, Answering(lambda engine, call: StepPlan(20)), **KNOBS)
    side.add(1, range(8), 30)
    side.add(2, range(100, 108), 30)
    side.schedule()
    side.advance()
    side.abort(1)
    assert [left.id for left in side.heard.gone] == [1]
    assert side.view.pending_prefill_tokens == 0
    assert [r.id for r in side.view.running] == [2]


def test_requests_of_strangers_get_ids_of_their_own(model: Path) -> None:
    side = SteeredSide(model, Answering(lambda engine, call: StepPlan(20)), **KNOBS)
    del side.scheduler.add_request  # whatever comes now says nothing of itself
    side.add(0, range(8), 3)
    side.add(1, range(8), 3)
    assert [r.id for r in side.view.waiting] == [-1, -2]


@pytest.mark.parametrize("budget", [20, 6])
def test_the_async_scheduler_is_steered_as_well(budget: int, model: Path) -> None:
    batcher = Answering(lambda engine, call: StepPlan(budget))
    side = SteeredSide(model, batcher, asynchronous=True, **KNOBS)
    plain = VLLMSide(model, asynchronous=True, **{**KNOBS, "budget": budget})
    for one in (side, plain):
        for id in range(6):
            one.add(id, range(100 * id, 100 * id + 11), 9)
    done: list[int] = []
    ahead = False
    while len(done) < 6:
        step = side.schedule()
        assert step == plain.schedule()
        if not step.scheduled:
            plain._under_way.pop()
        if ahead or not step.scheduled:
            finished = side.advance()
            assert finished == plain.advance()
            done += finished
        ahead = bool(side._under_way)
    while side._under_way:
        side.advance()
    tokens = sum(s.decode_tokens for s in side.heard.steps)
    assert tokens >= 6 * 8
    assert not side.heard.faults


def test_a_process_of_its_own_reports_to_a_file_and_a_socket(tmp_path: Path) -> None:
    address = tmp_path / "socket"
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(address))
    report = FileReport(Settings("e0", 0, "m", log=str(tmp_path / "log"), socket=str(address)))
    view = Engine(running=(), waiting=())
    report.fault("it broke")
    report.state(view)
    heard = json.loads(ear.recv(1 << 20))
    assert heard["kind"] == "state"
    assert heard["running_count"] == 0
    assert seen_of(heard["waiting"]) == []
    ear.close()
    began = time.monotonic()
    report.state(view)  # nobody listens any more
    assert time.monotonic() - began < 5
    report.close()
    assert [message["kind"] for message in read_log(tmp_path / "log")] == ["fault"]
    assert state_message(view)
    assert step_of
