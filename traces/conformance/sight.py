"""A policy sees what a server can know: nothing of the future, nothing beyond the protocols; and it changes nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from traces.conformance.finding import Check, Finding, Level
from traces.conformance.guarded import guarded
from traces.conformance.playing import play
from traces.conformance.purity import PURE, static_offences
from traces.conformance.source import Offence
from traces.conformance.subject import Subject

_SHOWN = 3

_TEACHING = {
    "future": (
        "knows nothing of the future",
        "No server knows how long an answer will be before it has been generated. A policy that peeks wins every comparison and "
        "cannot be put into production.",
        "Use `request.expected_output_tokens`, a belief, and `generated_tokens` so far. A policy that is meant to be an upper "
        "bound is named `oracle-…`, and says so in every table.",
    ),
    "contract": (
        "reads only what both worlds show",
        "What is not in `policies.types` belongs to the simulator's or to vLLM's own objects: it is absent in the other world, "
        "where the same policy crashes or quietly decides on a default.",
        "Read what the protocols of `policies.types` name. What is missing there has to be kept by the policy itself, or proposed.",
    ),
    "writes": (
        "leaves the views as they are",
        "Views are the worlds' live objects, shown without a copy: a change reaches the engine itself, or the next policy, or is "
        "lost, depending on the world.",
        "Keep what you need to remember in the policy, by `request.id` or `engine.id`; use `sorted(…)` in place of `.sort()`.",
    ),
}


def _evidence(subject: Subject) -> list[Offence]:
    known: list[Offence] | None = vars(subject).get("_sight")
    if known is None:
        found: list[Offence] = []
        for story in subject.stories:
            if len(story.calls) > 2 or story.name not in ("512-engines", "huge-queues", "huge-queue", "1024-running"):
                for _ in play(subject.point, subject.build(), story, lambda call: guarded(call, found.append, subject.oracle)):
                    pass
        if not subject.oracle and not any(o.kind == "future" for o in found):
            found += static_offences(subject, "future")
        known = vars(subject)["_sight"] = list(dict.fromkeys(found))
    return known


def _check(kind: str, subject: Subject) -> Iterator[Finding]:
    whats = [offence.what for offence in _evidence(subject) if offence.kind == kind]
    if whats:
        _, why, instead = _TEACHING[kind]
        more = f"; and {len(whats) - _SHOWN} more" if len(whats) > _SHOWN else ""
        yield Finding(kind, Level.ERROR, "; ".join(whats[:_SHOWN]) + more, why, instead)


def _make(kind: str) -> Check:
    run: Callable[[Subject], Iterator[Finding]] = partial(_check, kind)
    return Check(kind, _TEACHING[kind][0], run, after=("parameters", *PURE))


CHECKS = tuple(map(_make, _TEACHING))
SIGHT = tuple(check.name for check in CHECKS)
