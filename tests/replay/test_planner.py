"""Asking policies inside an engine: plans are kept while they stand, and a failing policy costs only itself."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import pytest

from policies.decisions import Drafts, DraftShape, Selection, StepPlan
from policies.drafting.acceptance import Acceptance
from policies.types import EngineView
from policies.views import Engine
from replay.drafting import Chooser
from replay.guard import Guard
from replay.planner import Planner

OWN = StepPlan(1000, reason="own")
VIEW = Engine()


class Answers:
    """A batcher whose answers are scripted; an exception among them is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.calls = 0

    def plan(self, engine: EngineView) -> StepPlan:
        self.calls += 1
        answer = self.answers[min(self.calls, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]


def planner(batcher: Answers, faults: list[str], deadline_s: float | None = None) -> Planner:
    return Planner(batcher, OWN, Guard("batcher scripted", deadline_s, faults.append))


def test_a_plan_stands_for_its_steps_and_until_it_expires() -> None:
    batcher, faults = Answers(StepPlan(5, valid_steps=3), StepPlan(6)), []
    asked = planner(batcher, faults)
    assert [asked.plan(VIEW, step).token_budget for step in range(6)] == [5, 5, 5, 6, 6, 6]
    assert batcher.calls == 2
    asked.expire()
    asked.plan(VIEW, 6)
    assert batcher.calls == 3
    assert not faults


def test_a_failing_batcher_is_asked_less_and_less_and_comes_back() -> None:
    batcher, faults = Answers(*[ValueError("no")] * 4, StepPlan(7, valid_steps=1)), []
    asked = planner(batcher, faults)
    budgets = [asked.plan(VIEW, step).token_budget for step in range(20)]
    assert len(faults) == 4
    assert budgets == [1000] * 15 + [7] * 5  # rests of 1, 2, 4 and 8 steps


def test_what_a_failing_batcher_was_shown_stays_news() -> None:
    news, faults = [1], []
    guard = Guard("batcher scripted", None, faults.append)
    asked = Planner(Answers(ValueError("no"), StepPlan(7)), OWN, guard, news.clear)
    asked.plan(VIEW, 0)
    assert news == [1]
    asked.plan(VIEW, 1)
    assert asked.plan(VIEW, 2).token_budget == 7
    assert news == []


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        StepPlan(-1),
        StepPlan(2.5),  # type: ignore[arg-type]
        StepPlan(5, valid_steps=0),
        StepPlan(5, valid_steps=math.nan),
        StepPlan(5, order=7),  # type: ignore[arg-type]
        StepPlan(5, admit={1}),  # type: ignore[arg-type]
        StepPlan(5, caps=[1]),  # type: ignore[arg-type]
        StepPlan(5, caps={1: -1}),
        StepPlan(5, preempt={1}),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_nonsense_is_not_carried_out(nonsense: object) -> None:
    faults: list[str] = []
    assert planner(Answers(nonsense), faults).plan(VIEW, 0) is OWN
    assert len(faults) == 1
    assert "\n" not in faults[0]


def forever() -> StepPlan:
    while True:
        pass


def nap() -> StepPlan:
    time.sleep(0.05)
    return StepPlan(5)


@pytest.mark.parametrize("question", [forever, nap])
def test_thinking_is_interrupted_at_the_deadline(question: Callable[[], StepPlan]) -> None:
    faults: list[str] = []
    guard = Guard("p", 0.01, faults.append)
    assert guard.ask(0, question) is None
    assert faults == ["p took longer than its deadline of 10 ms; the engine did as it does without it"]
    assert guard.ask(1, lambda: StepPlan(3)) == StepPlan(3)
    time.sleep(0.03)  # no late alarm


def test_off_the_main_thread_an_answer_that_comes_too_late_is_thrown_away() -> None:
    faults: list[str] = []
    answers = []
    thread = threading.Thread(target=lambda: answers.append(Guard("p", 0.01, faults.append).ask(0, nap)))
    thread.start()
    thread.join()
    assert answers == [None]
    assert len(faults) == 1


class Speculates:
    def __init__(self, shape: DraftShape, selection: Selection = Selection()) -> None:  # noqa: B008
        self._shape, self._selection = shape, selection
        self.drafts: Drafts | None = None

    def shape(self, engine: EngineView) -> DraftShape:
        return self._shape

    def select(self, engine: EngineView, drafts: Drafts) -> Selection:
        self.drafts = drafts
        return self._selection


def chooser(speculator: Speculates, faults: list[str], *, ahead: bool = False) -> Chooser:
    return Chooser(speculator, 4, Acceptance(0, (0.5, 0.25)), Guard("s", None, faults.append), ahead=ahead)


def test_a_speculator_chooses_per_request_what_is_drafted_and_verified() -> None:
    speculator, faults = Speculates(DraftShape(3, {7: 0, 8: 4}), Selection({8: 1})), []
    assert chooser(speculator, faults).choose(VIEW, 0, [6, 7, 8]) == (4, {6: 3, 7: 0, 8: 1})
    assert speculator.drafts == Drafts({6: (0.5, 0.25, 0.25), 8: (0.5, 0.25, 0.25, 0.25)})
    assert not faults


def test_chains_longer_than_the_engines_are_cut() -> None:
    faults: list[str] = []
    assert chooser(Speculates(DraftShape(9)), faults).choose(VIEW, 0, [6, 7]) == (4, {6: 4, 7: 4})
    assert not faults


def test_ahead_of_the_drafts_there_is_nothing_to_select_from() -> None:
    speculator = Speculates(DraftShape(2), Selection({6: 0}))
    assert chooser(speculator, [], ahead=True).choose(VIEW, 0, [6, 7]) == (2, {6: 2, 7: 2})
    assert speculator.drafts is None


@pytest.mark.parametrize("speculator", [Speculates(DraftShape(-5)), Speculates(DraftShape(2), Selection({6: -1}))])
def test_impossible_draft_lengths_leave_the_engine_its_own(speculator: Speculates) -> None:
    faults: list[str] = []
    assert chooser(speculator, faults).choose(VIEW, 0, [6]) == (4, {6: 4})
    assert "draft tokens for request 6; the engine takes 0 to 4" in faults[0]


def test_acceptance_does_not_depend_on_when_a_token_is_drafted() -> None:
    acceptance = Acceptance(3, (0.6,))
    for request in range(20):
        for position in range(20):
            whole = acceptance.accepted(request, position, 4)
            assert acceptance.accepted(request, position, 2) == min(whole, 2)
            if whole > 1:
                assert acceptance.accepted(request, position + 1, 3) == whole - 1
