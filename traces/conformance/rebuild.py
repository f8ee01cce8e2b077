"""A policy is the product of its calls: rebuilt from its log, shown other objects of equal content, it decides the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from policies.decisionlog import Full
from policies.redecide import Redecision, redecide
from policies.views import NOT_HELD, Fleet
from traces.conformance.finding import Check, Finding, Level
from traces.conformance.playing import all_written, brief
from traces.conformance.purity import PURE, static_offences
from traces.conformance.sight import SIGHT
from traces.conformance.stories import Call, Story
from traces.conformance.subject import Subject

_REBUILD_WHY = (
    "A fresh object that is fed the logged calls is how a policy comes back after a restart, how the simulator's decisions are "
    "proved to be production's, and how one decision of a bad night is looked into. A log holds what was read in each call."
)
_REBUILD_INSTEAD = (
    "Let the state follow from the calls alone, and copy the numbers that you will need later in the call that shows them; keep no "
    "view."
)
_IDENTITY_WHY = (
    "A view is a live engine in one world and a new snapshot at every refresh in the other: kept from an earlier call, it shows "
    "the present in one and the past in the other; as the key of a dictionary, it is found again in one only."
)
_IDENTITY_INSTEAD = (
    "Go by `engine.id` and `request.id`, and copy the numbers that you want to remember; never by `id(…)` or the object."
)


def _rebuild(subject: Subject) -> Iterator[Finding]:
    for story in subject.stories:
        if any('"raised"' in text for text in all_written(subject.point, subject.build(), story)):
            continue
        log = Full()
        policy = subject.build()
        watched = _watched(subject.point, log, policy)
        all_written(subject.point, watched, story)
        again = redecide(log, lambda _: subject.build())
        if again.differ:
            yield _differs(again, story)
            return
        (rebuilt,) = again.policies.values()
        more = subject.stories[0]
        if all_written(subject.point, policy, more) != all_written(subject.point, rebuilt, more):
            what = f"decides the same as its log says on {story.about}, but goes on otherwise than the object that was logged"
            yield Finding("rebuild", Level.ERROR, what, _REBUILD_WHY, _REBUILD_INSTEAD)
            return


def _watched(point: str, log: Full, policy: Any) -> Any:
    match point:
        case "router":
            return log.router(policy)
        case "scaler":
            return log.scaler(policy)
        case "speculator":
            return log.speculator("e0", policy)
    return log.batcher("e0", policy)


def _differs(again: Redecision, story: Story) -> Finding:
    first = again.differences[0]
    what = (
        f"fed its own log of {story.about}, a fresh object decides {again.differ} of {again.decisions} times otherwise; first for "
        f"{first.who}: {brief(first.logged)} in the log, now {brief(first.again)}"
    )
    return Finding("rebuild", Level.ERROR, what, _REBUILD_WHY, _REBUILD_INSTEAD)


def _identity(subject: Subject) -> Iterator[Finding]:
    uses = [offence.what for offence in static_offences(subject, "identity")]
    if uses:
        yield Finding("identity", Level.ERROR, "; ".join(uses[:3]), _IDENTITY_WHY, _IDENTITY_INSTEAD)
        return
    for story in subject.stories:
        live = all_written(subject.point, subject.build(), story, _Live())
        snapshots = all_written(subject.point, subject.build(), story, _snapshot)
        for index, (one, other) in enumerate(zip(live, snapshots, strict=True)):
            if one != other:
                what = (
                    "decides otherwise when it is shown equal views that are other objects: "
                    f"call {index + 1} on {story.about} gets {brief(one)} on live objects, {brief(other)} on snapshots"
                )
                yield Finding("identity", Level.ERROR, what, _IDENTITY_WHY, _IDENTITY_INSTEAD)
                return


class _Mirror:
    """A live object: the same one in every call, always with its present values."""

    def __init__(self) -> None:
        self.now: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.now, name)


class _Live:
    """A lens that shows views as the simulator does: engines, requests and the fleet are the same objects throughout."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, Any], _Mirror] = {}

    def __call__(self, call: Call) -> Call:
        if len(call) == 1:
            (view,) = call
            return (self._fleet(view) if isinstance(view, Fleet) else self._engine(view),)
        request, fleet = call
        return self._request(request), self._fleet(fleet)

    def _fleet(self, fleet: Any) -> Any:
        mirrored = {
            "engines": tuple(map(self._engine, fleet.engines)),
            "held": tuple(map(self._request, fleet.held)),
            "members": tuple(map(self._engine, fleet.members)),
        }
        return self._object("fleet", "", replace(fleet, **mirrored))

    def _engine(self, engine: Any) -> Any:
        mirrored: Mapping[str, Any] = {
            "running": tuple(map(self._request, engine.running)),
            "waiting": tuple(map(self._request, engine.waiting)),
            "arrived": engine.arrived if engine.arrived is NOT_HELD else tuple(map(self._request, engine.arrived)),
        }
        return self._object("engine", engine.id, replace(engine, **mirrored))

    def _request(self, request: Any) -> Any:
        return self._object("request", request.id, request)

    def _object(self, kind: str, key: Any, now: Any) -> _Mirror:
        mirror = self._objects.setdefault((kind, key), _Mirror())
        mirror.now = now
        return mirror


def _snapshot(call: Call) -> Call:
    """A lens that shows every view as a new object with a fixed content."""
    return _Live()(call)


IDENTITY = Check(
    "identity",
    "goes by what views say, not by which objects they are",
    _identity,
    after=("parameters", *PURE, *SIGHT, "globals"),
)
REBUILD = Check(
    "rebuild",
    "can be rebuilt from its decision log",
    _rebuild,
    after=("parameters", *PURE, *SIGHT, "legality", "globals", "identity", "determinism", "finality"),
)
