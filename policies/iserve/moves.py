"""Re-placement: from the engines there are to those that are wanted, as a sequence of moves, each with its cost.

An engine that stays where it is, as it is, is left alone. A new one is started before the old one is drained where memory allows;
where it does not, engines are exchanged one at a time, and only while those that remain can carry the load: the service level is
never given up for a change. If even that is impossible, the plan says so and by how much.

Whether to move at all is decided with hysteresis: what the change gains over the time that it is expected to hold must exceed
what it costs, and exceed it clearly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from policies.iserve.placement import Device, Placed


class Act(StrEnum):
    """One step of a change."""

    START = "start"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Serving:
    """An engine that runs or is wanted. ``capacity``: requests per second within the objective. ``start_s``: from nothing to
    serving, most of it the time that its weights take to load.
    """

    name: str
    placed: Placed
    capacity: float
    start_s: float

    @property
    def model(self) -> str:
        return self.placed.candidate.configuration.model

    @property
    def seat(self) -> tuple[object, ...]:
        """Two engines with equal seats are the same engine."""
        return self.placed.candidate.configuration, self.placed.devices, self.placed.layers


@dataclass(frozen=True, slots=True)
class Step:
    """``seconds``: until the next step may follow. ``requests``: of those under way that are drained."""

    act: Act
    engine: Serving
    seconds: float
    requests: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """Steps in order. ``gpu_seconds``: that GPUs spend on loading or draining, not serving. ``shortfall``: by model, requests
    per second that cannot be carried within the objective at the worst moment; empty where the service level holds throughout.
    """

    steps: tuple[Step, ...]
    seconds: float
    gpu_seconds: float
    requests_drained: float
    shortfall: Mapping[str, float]


class NoRoom(ValueError):
    """An engine is wanted where it cannot be."""


def change(
    serving: Sequence[Serving],
    wanted: Sequence[Serving],
    devices: Sequence[Device],
    rates: Mapping[str, float],
) -> Change:
    """The steps from ``serving`` to ``wanted``. ``devices``: with what is free beside all that is serving. ``rates``: by model.

    Of engines with equal seats, those that come first stay. A drain lasts as long as one request.

    Raises:
        NoRoom: an engine does not fit the devices that it is wanted on, even when all that is not wanted is gone.
    """
    kept = Counter(engine.seat for engine in wanted) & Counter(engine.seat for engine in serving)
    old, new = _beyond(serving, kept), _beyond(wanted, kept)
    up = {engine.name: engine for engine in serving}
    free = {device.id: device.free_bytes for device in devices}
    steps: list[Step] = []
    shortfall: dict[str, float] = {}

    def drain(engine: Serving) -> None:
        del up[engine.name]
        old.remove(engine)
        rate = rates.get(engine.model, 0.0)
        missing = rate - sum(e.capacity for e in up.values() if e.model == engine.model)
        if missing > 1e-9:
            shortfall[engine.model] = max(shortfall.get(engine.model, 0.0), missing)
        latency = engine.placed.candidate.latency_s.value
        alike = [e.capacity for e in (engine, *up.values()) if e.model == engine.model]
        share = engine.capacity / sum(alike) if any(alike) else 1 / len(alike)
        steps.append(Step(Act.DRAIN, engine, latency, rate * share * latency))
        for device, size in zip(engine.placed.devices, engine.placed.bytes_per_device, strict=True):
            free[device] = free.get(device, 0.0) + size

    def start(engine: Serving) -> None:
        new.remove(engine)
        up[engine.name] = engine
        steps.append(Step(Act.START, engine, engine.start_s))
        for device, size in zip(engine.placed.devices, engine.placed.bytes_per_device, strict=True):
            free[device] -= size

    def fits(engine: Serving) -> bool:
        need: dict[str, float] = {}
        for device, size in zip(engine.placed.devices, engine.placed.bytes_per_device, strict=True):
            need[device] = need.get(device, 0.0) + size
        return all(free.get(device, 0.0) >= size for device, size in need.items())

    def spare(engine: Serving) -> float:
        """Requests per second that its model could still carry, and does not have to, without it."""
        others = sum(e.capacity for e in up.values() if e.model == engine.model and e.name != engine.name)
        return others - rates.get(engine.model, 0.0)

    while new or old:
        ready = next((engine for engine in new if fits(engine)), None)
        if ready is not None:
            start(ready)
            continue
        if not old:
            raise NoRoom(f"{new[0].name} does not fit the devices it is wanted on, even when all others are gone")
        drain(max(old, key=spare))
    seconds = sum(step.seconds for step in steps)
    busy = sum(step.seconds * step.engine.placed.candidate.configuration.gpus for step in steps)
    return Change(tuple(steps), seconds, busy, sum(step.requests for step in steps), shortfall)


def _beyond(engines: Sequence[Serving], kept: Counter[tuple[object, ...]]) -> list[Serving]:
    """Those beyond the first ones of each seat."""
    left, beyond = kept.copy(), []
    for engine in engines:
        if left[engine.seat] > 0:
            left[engine.seat] -= 1
        else:
            beyond.append(engine)
    return beyond


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """``holds_s``: for how long a new placement is expected to be right. ``factor``: how far its gain must exceed its cost.
    ``least_gain``: and the old score must be worse by so much at least, as a share.
    """

    holds_s: float = 600.0
    factor: float = 2.0
    least_gain: float = 0.1

    def worth_it(self, old_score: float, new_score: float, change: Change, gpus: int) -> bool:
        """Whether to carry the change out. Scores: what the intent wants to be least; ``inf`` = the old placement breaks a limit.

        A change that breaks the service level is carried out only when the old placement does so already.
        """
        if old_score == float("inf"):
            return new_score < float("inf")
        if change.shortfall or new_score >= old_score * (1 - self.least_gain):
            return False
        gained = (1 - new_score / old_score) * self.holds_s * gpus
        return gained > self.factor * change.gpu_seconds


def without(devices: Sequence[Device], serving: Sequence[Serving]) -> list[Device]:
    """Empty devices with what the engines that serve take of them taken off."""
    left = {device.id: device.free_bytes for device in devices}
    for engine in serving:
        for device, size in zip(engine.placed.devices, engine.placed.bytes_per_device, strict=True):
            left[device] -= size
    return [replace(device, free_bytes=left[device.id]) for device in devices]
