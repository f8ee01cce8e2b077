"""Equal calls, equal decisions: from two objects of one process, and from processes that hash text differently."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from traces.conformance.finding import Check, Finding, Level
from traces.conformance.playing import all_written, brief
from traces.conformance.purity import PURE, static_offences
from traces.conformance.sight import SIGHT
from traces.conformance.subject import Subject

_HASH_SEEDS = ("1", "2")
_CHILD_LIMIT_S = 120

_WHY = (
    "The simulator's answer is worth something because production would have decided the same; a decision that cannot be repeated "
    "cannot be explained, and of two runs of a comparison nobody knows what made the difference."
)
_INSTEAD = (
    "Break every tie by a value of the view: its order of engines, `engine.id`, `request.id`. Sort what comes out of a set; do not "
    "use `hash()`, which for text differs from process to process."
)


def _run(subject: Subject) -> Iterator[Finding]:
    first, again = answers(subject), answers(subject)
    if place := _first_difference(subject, first, again):
        yield Finding(
            "determinism", Level.ERROR, f"two fresh objects with the same seed answer differently: {place}", _WHY, _INSTEAD
        )
        return
    if subject.template is None and not subject.importable:
        yield Finding(
            "determinism",
            Level.WARNING,
            f"{subject.cls.__qualname__} cannot be imported by another process, so it was tried in this one only",
            "Sweeps run in worker processes, and vLLM builds an engine's batcher in the engine's process: both import the class.",
            "Put the class at the top level of a module.",
        )
        return
    try:
        others = _elsewhere(subject)
    except _ChildFailed as fault:
        yield Finding(
            "determinism",
            Level.ERROR,
            f"cannot be built in another process: {fault}",
            "Sweeps run in worker processes, and vLLM builds an engine's batcher in the engine's own: both import the class anew.",
            "Let everything that the policy needs come with the import of its module and with its parameters.",
        )
        return
    for other in (others[1], first):
        if place := _first_difference(subject, others[0], other):
            what = f"processes that hash text differently (another PYTHONHASHSEED) answer differently: {place}"
            yield Finding("determinism", Level.ERROR, what, _WHY, _INSTEAD)
            return
    uses = [offence.what for offence in static_offences(subject, "determinism")]
    if uses:
        yield Finding("determinism", Level.WARNING, "; ".join(uses[:3]), _WHY, _INSTEAD)


def answers(subject: Subject) -> list[str]:
    """The answers of fresh objects to all stories, in order."""
    return [text for story in subject.stories for text in all_written(subject.point, subject.build(), story)]


def _first_difference(subject: Subject, a: Sequence[str], b: Sequence[str]) -> str:
    """Where two lists of answers part, in words; "" if they do not."""
    places = ((story, index) for story in subject.stories for index in range(len(story.calls)))
    for (story, index), one, other in zip(places, a, b, strict=True):
        if one != other:
            return f"call {index + 1} on {story.about} gets {brief(one)} from one, {brief(other)} from the other"
    return ""


class _ChildFailed(Exception):
    """A process could not build or call the policy."""


def _elsewhere(subject: Subject) -> list[list[str]]:
    """The answers of two fresh processes, each with a hash seed of its own."""
    try:
        job = pickle.dumps(replace(subject))  # without what it has found so far
    except Exception as fault:  # pickling runs whatever the object likes
        raise _ChildFailed(f"it cannot be pickled ({type(fault).__name__}: {fault})") from fault
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "traces.conformance.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        )
        for seed in _HASH_SEEDS
    ]
    return [_collect(child, job) for child in children]


def _collect(child: subprocess.Popen[bytes], job: bytes) -> list[str]:
    out, err = child.communicate(job, timeout=_CHILD_LIMIT_S)
    if child.returncode:
        lines = err.decode(errors="replace").strip().splitlines()
        raise _ChildFailed(lines[-1] if lines else f"exit code {child.returncode}")
    found: list[str] = json.loads(out)
    return found


CHECK = Check(
    "determinism",
    "gives equal decisions for equal calls, in every process",
    _run,
    after=("parameters", *PURE, *SIGHT, "globals", "identity"),
)
