"""A policy answers whatever comes: empty fleets, huge ones, engines that vanish, requests without objectives."""

from __future__ import annotations

from collections.abc import Iterator

from traces.conformance.finding import Check, Finding, Level
from traces.conformance.playing import Answer, line_of, play
from traces.conformance.purity import PURE
from traces.conformance.sight import SIGHT
from traces.conformance.subject import Subject

_WHY = (
    "An exception in a policy takes the router, or the engine, down with every request on it; and this happens: fleets are empty "
    "while they start, engines fail between two calls, most requests have no objective."
)
_INSTEAD = {
    "empty-fleet": "Return `Hold(reason)` where no engine is in the view: it is offered again when one is.",
    "other-model": "Look at engines whose `model` is the request's only, and return `Hold(reason)` where there is none.",
    "joins-and-leaves": "Look engines up in the view of this call, with a default for one that you do not know yet or any more.",
    "no-slo": "Every part of `request.slo` may be `None`, which means that there is no such objective.",
    "offline": "Every part of `request.slo` may be `None`, and is for offline requests.",
    "idle": "An engine may have neither running nor waiting requests: plan for an empty step.",
}
_OTHERWISE = (
    "Handle this case, or return `Hold(reason)` (a router) or a plain `StepPlan` (a batcher) where there is nothing to choose from."
)


def _run(subject: Subject) -> Iterator[Finding]:
    """One finding per kind of exception, with the stories in which it was raised."""
    faults: dict[str, list[Answer]] = {}
    for story in subject.stories:
        for answer in play(subject.point, subject.build(), story):
            if answer.fault is not None:
                where = line_of(answer.fault, subject.modules)
                text = f"raises {type(answer.fault).__name__}: {answer.fault}" + (f" ({where})" if where else "")
                faults.setdefault(text, []).append(answer)
                break
    for text, answers in faults.items():
        places = " and ".join(answer.place for answer in answers[:2]) + (" and elsewhere" if len(answers) > 2 else "")
        yield Finding("survival", Level.ERROR, f"{text} in {places}", _WHY, _INSTEAD.get(answers[0].story.name, _OTHERWISE))


CHECK = Check(
    "survival",
    "answers on empty, huge and failing fleets, and to requests of every kind",
    _run,
    after=("parameters", *PURE, *SIGHT),
)
