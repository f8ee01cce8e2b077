"""A policy decides from its arguments alone: no clock, no randomness of its own, no I/O, no environment, no threads, no world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from policies.registry import METHOD
from traces.conformance.finding import Check, Finding, Level
from traces.conformance.source import Offence, offences
from traces.conformance.subject import Subject
from traces.conformance.traps import Traps

_SHOWN = 3
_TRAPPED_STORIES = ("ordinary", "joins-and-leaves", "no-slo", "sizes")

_TEACHING = {
    "clock": (
        "reads no clock",
        "Simulated time is not the machine's: hours pass in seconds there, and two runs of one scenario would decide differently.",
        "Read `fleet.now_s` or `engine.now_s`, and `as_of_s` for the age of an observation.",
    ),
    "randomness": (
        "draws randomness only from the seed that it is given",
        "A global or unseeded generator gives other numbers in the next run and in the other world, so that no decision can be "
        "made again and no two policies be compared on equal luck.",
        "Take `seed` in the constructor and draw from `policies.streams`: `Draws(seed, 'router', 'my-policy')(request.id)`.",
    ),
    "io": (
        "touches no file, no network and no terminal",
        "A decision sits on the path of every request: a read or a print there is latency for users, and what it returns is in no "
        "log, so that the decision cannot be made again.",
        "Load what you need before, and pass it in as parameters; say what you want to say in the decision's `reason`.",
    ),
    "environment": (
        "reads no environment variables and asks nothing of the machine",
        "Two hosts with the same scenario would decide differently, and the run record does not tell why.",
        "Make it a constructor parameter: it is then in the scenario, in the record and in the run's hash.",
    ),
    "threads": (
        "starts no thread and no process",
        "State that changes between calls cannot be rebuilt from the decision log, and the simulator's clock does not wait for it.",
        "Do the work inside the call; if it is too much, do a part of it per call and keep the state in the object.",
    ),
    "worlds": (
        "imports neither world",
        "A policy that imports the simulator or vLLM runs in only one of them, and its results say nothing about the other.",
        "Import from `policies` only, and read what you need from the view.",
    ),
}


def _evidence(subject: Subject) -> list[Offence]:
    """What the source gives away, then what the traps caught; found once per subject."""
    known: list[Offence] | None = vars(subject).get("_evidence")
    if known is None:
        caught = _trapped(subject)
        told = {(offence.kind, offence.place) for offence in caught}
        known = [o for o in offences(subject.modules) if (o.kind, o.place) not in told] + caught
        vars(subject)["_evidence"] = known
    return known


def _trapped(subject: Subject) -> list[Offence]:
    with Traps(subject.modules) as traps:
        policy = None
        with traps.armed():
            policy = subject.build()
        while_building = [
            Offence(o.kind, f"{o.what} while it is built", Level.WARNING if o.kind == "io" else Level.ERROR) for o in traps.offences
        ]
        traps.offences.clear()
        decide = getattr(policy or subject.build(), METHOD[subject.point])
        for story in subject.stories:
            for call in story.calls if story.name in _TRAPPED_STORIES else ():
                with traps.armed(), suppress(Exception):
                    decide(*call)
        return [*while_building, *traps.offences]


def _check(kind: str, subject: Subject) -> Iterator[Finding]:
    found = [offence for offence in _evidence(subject) if offence.kind == kind]
    _, why, instead = _TEACHING[kind]
    for level in (Level.ERROR, Level.WARNING):
        places = list(dict.fromkeys(offence.what for offence in found if offence.level is level))
        if places:
            more = f"; and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            yield Finding(kind, level, "; ".join(places[:_SHOWN]) + more, why, instead)
            return  # the errors say it all


def static_offences(subject: Subject, kind: str) -> list[Offence]:
    """What the source alone gives away of a kind that another check answers for."""
    return [offence for offence in _evidence(subject) if offence.kind == kind]


def _make(kind: str) -> Check:
    run: Callable[[Subject], Iterator[Finding]] = partial(_check, kind)
    return Check(kind, _TEACHING[kind][0], run, after=("parameters",))


CHECKS = tuple(map(_make, _TEACHING))
PURE = tuple(check.name for check in CHECKS)
