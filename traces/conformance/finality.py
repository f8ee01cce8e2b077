"""A decision is final: what was handed out does not change afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from traces.conformance.finding import Check, Finding, Level
from traces.conformance.playing import play, written
from traces.conformance.purity import PURE
from traces.conformance.sight import SIGHT
from traces.conformance.subject import Subject


def _run(subject: Subject) -> Iterator[Finding]:
    for story in subject.stories:
        given = [(answer, written(subject.point, answer)) for answer in play(subject.point, subject.build(), story)]
        for answer, text in given:
            if written(subject.point, answer) != text:
                yield Finding(
                    "finality",
                    Level.ERROR,
                    f"the decision of {answer.place} has changed by the end of the story",
                    "A world keeps a decision while it stands, for many steps in the case of a plan, and writes it to the log: one "
                    "that changes in its hands is carried out half old, half new, and logged wrongly.",
                    "Give out a new list or dictionary with every decision (`caps=dict(self._caps)`), or one that never changes.",
                )
                return


CHECK = Check("finality", "leaves decisions alone once they are given", _run, after=("parameters", *PURE, *SIGHT))
