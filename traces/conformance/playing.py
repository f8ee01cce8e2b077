"""Playing a story to a policy object, and writing down what it answers."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.decisionlog import plan_data, routing_data, scale_data, speculation_data
from policies.decisions import Assign, DraftShape, Hold, Scale, Shed, StepPlan
from policies.redecide import canonical
from policies.registry import METHOD
from traces.conformance.modules import Module
from traces.conformance.stories import Call, Story

Lens = Callable[[Call], Call]
"""What stands between a story's views and the policy."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy answered to one call: a ``decision``, or the ``fault`` that it raised."""

    story: Story
    index: int
    decision: Any = None
    fault: Exception | None = None

    @property
    def call(self) -> Call:
        return self.story.calls[self.index]

    @property
    def place(self) -> str:
        """Which call, in words."""
        return f"call {self.index + 1} of {len(self.story.calls)} on {self.story.about}"


def play(point: str, policy: Any, story: Story, lens: Lens = lambda call: call) -> Iterator[Answer]:
    """Make the story's calls, one after the other."""
    decide = getattr(policy, METHOD[point])
    for index, call in enumerate(story.calls):
        try:
            yield Answer(story, index, decide(*lens(call)))
        except Exception as fault:  # whatever the policy raises is its answer
            yield Answer(story, index, fault=fault)


def written(point: str, answer: Answer) -> str:
    """The answer as canonical JSON: equal text, equal answer."""
    return canonical(_data(point, answer))


def _data(point: str, answer: Answer) -> Mapping[str, Any]:
    if answer.fault is not None:
        return {"raised": f"{type(answer.fault).__name__}: {answer.fault}"}
    decision = answer.decision
    try:
        if point == "router" and isinstance(decision, Assign | Hold | Shed):
            return routing_data(decision, answer.call[1].engines)
        if point == "scaler" and isinstance(decision, Scale):
            return scale_data(decision)
        if point == "batcher" and isinstance(decision, StepPlan):
            return plan_data(decision)
        if point == "speculator" and isinstance(decision, DraftShape):
            return speculation_data(decision)
    except (AttributeError, TypeError, ValueError):
        pass
    return {"decision": f"an illegal {type(decision).__name__}"}


def brief(text: str) -> str:
    """What ``written`` wrote, in words short enough for a sentence."""
    answer = json.loads(text)
    if "raised" in answer:
        return f"an exception, {_cut(answer['raised'], 60)}"
    kind, reason = answer["decision"], f"“{_cut(answer.get('reason', ''), 40)}”"
    if kind == "Assign":
        return f"{answer['engine']} ({reason})"
    if kind == "Scale":
        changes = ", ".join(f"{change['change']} {change['engine']}" for change in answer["changes"]) or "no change"
        return f"{_cut(changes, 60)} ({reason})"
    if kind == "StepPlan":
        more = [
            f"{name} {_cut(json.dumps(answer[name]), 30)}" for name in ("order", "caps", "preempt", "admit") if answer.get(name)
        ]
        return ", ".join([f"a plan of {answer['token_budget']} tokens", *more, reason])
    return f"{kind} {reason}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def all_written(point: str, policy: Any, story: Story, lens: Lens = lambda call: call) -> list[str]:
    """All answers to a story as canonical JSON."""
    return [written(point, answer) for answer in play(point, policy, story, lens)]


def line_of(fault: BaseException, modules: Sequence[Module]) -> str:
    """Where in the policy's own source a fault was raised: ``file:line``, or "" where there is no source."""
    frames = traceback.extract_tb(fault.__traceback__)
    names = {getattr(module.live, "__file__", None): module.file for module in modules}
    for frame in reversed(frames):
        if frame.filename in names:
            return f"{names[frame.filename]}:{frame.lineno}"
    return ""
