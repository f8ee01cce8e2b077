"""The least supply with which a run is not strained beyond 1, in few runs, and what the load takes as a fraction of it.

Supply is the number of engines at a given load, or the inverse of the load on given engines. It is tried on a *ladder*: whole
engines, or steps of 2 % of load. Strain falls with supply, and where it is finite about as a power of it, so that two runs tell
where it crosses 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from traces.intervals import students_t

FINE = 1.02
"""Of a ladder of loads, from rung to rung."""

_SLOPE = 1.0
_FLATTEST, _STEEPEST = 0.25, 12.0
_UNBOUNDED = 4.0
"""The strain that is taken for infinite, to tell a place between two rungs."""
_FIRST_STRIDE = 0.25


class Strained(Protocol):
    """What a run says of its strain."""

    @property
    def strain(self) -> float: ...
    @property
    def lo(self) -> float: ...
    @property
    def hi(self) -> float: ...


T = TypeVar("T", bound=Strained)


@dataclass(frozen=True, slots=True)
class Ladder:
    """``least``, ``most``: rungs that may be tried. ``fine``: ratio between rungs; ``None`` = rungs are engines."""

    least: int
    most: int
    fine: float | None = None

    def supply(self, rung: int) -> float:
        return float(rung) if self.fine is None else self.fine**rung

    def rung(self, supply: float) -> int:
        """The first whose supply is no less."""
        at = supply if self.fine is None else math.log(supply) / math.log(self.fine)
        return self.clipped(math.ceil(min(max(at, -1e6), 1e6) - 1e-9))

    def clipped(self, rung: int) -> int:
        return min(max(rung, self.least), self.most)


def loads(least: float, most: float) -> Ladder:
    """Of the inverse of loads between two ends."""
    step = math.log(FINE)
    return Ladder(math.floor(-math.log(most) / step), math.ceil(-math.log(least) / step), FINE)


def smallest(run: Callable[[int], T], start: int, ladder: Ladder, tries: int = 10) -> dict[int, T]:
    """Rung → run, of every rung that was tried from ``start`` on: among them the least that holds and the one below it, unless
    the ladder ends first or there were too many tries.
    """
    found: dict[int, T] = {}
    missed, held = ladder.least - 1, ladder.most + 1
    rung, halved = ladder.clipped(start), False
    while True:
        before, between = held - missed, missed in found and held in found
        found[rung] = run(rung)
        if found[rung].strain <= 1:
            held = rung
        else:
            missed = rung
        if held - missed <= 1 or len(found) >= tries:
            return found
        stalled = between and held - missed > before / 2
        halved = not halved and missed in found and held in found and (stalled or found[missed].strain > 2 * _UNBOUNDED)
        if halved:
            rung = (missed + held) // 2
        else:
            rung = min(max(_aimed(found, ladder), missed + 1), held - 1)


def _aimed(found: Mapping[int, T], ladder: Ladder) -> int:
    """The rung at which the runs so far suggest that strain crosses 1. A queue that grows all through the run tells no distance:
    then a quarter more, and if that is not enough twice, then five times as much, for the start is an estimate and seldom far off.
    """
    finite = {rung: min(one.strain, _UNBOUNDED) for rung, one in found.items() if one.strain > 0}
    if min(finite.values(), default=_UNBOUNDED) >= _UNBOUNDED:
        return ladder.rung(ladder.supply(max(found)) * (1 + _FIRST_STRIDE * 4 ** (len(found) - 1)))
    near = _nearest(finite)
    slope = _slope({rung: finite[rung] for rung in near}, ladder)
    first = min(near, key=lambda rung: abs(math.log(finite[rung])))
    aimed = ladder.rung(ladder.supply(first) * finite[first] ** (1 / slope))
    return first - 1 if aimed == first and finite[first] <= 1 else aimed


def _nearest(strains: Mapping[int, float]) -> list[int]:
    """The rungs next to the crossing on either side, or on the one side that is known the two next to it."""
    held = sorted(rung for rung, strain in strains.items() if strain <= 1)
    missed = sorted((rung for rung, strain in strains.items() if strain > 1), reverse=True)
    return [missed[0], held[0]] if held and missed else (held or missed)[:2]


def _slope(strains: Mapping[int, float], ladder: Ladder) -> float:
    """How strain falls with supply from one rung to the other: minus the exponent."""
    if len(strains) < 2:
        return _SLOPE
    a, b = strains
    fall = math.log(strains[a] / strains[b]) / math.log(ladder.supply(b) / ladder.supply(a))
    return min(max(fall, _FLATTEST), _STEEPEST)


@dataclass(frozen=True, slots=True)
class Need:
    """The supply that the load takes, as a fraction between rungs, with its 95 % interval."""

    value: float
    lo: float
    hi: float


def rungs(found: Mapping[int, T]) -> tuple[int | None, int | None]:
    """The highest that missed below the least that held, and the latter."""
    held = min((rung for rung, one in found.items() if one.strain <= 1), default=None)
    missed = max((rung for rung, one in found.items() if one.strain > 1 and (held is None or rung < held)), default=None)
    return missed, held


def need(found: Mapping[int, T], ladder: Ladder) -> Need | None:
    """From the runs at the rungs next to the crossing; ``None`` where none holds. Where one engine is enough, how much of it."""
    missed, held = rungs(found)
    if held is None:
        return None
    high = ladder.supply(held)
    strains = {rung: min(found[rung].strain, _UNBOUNDED) for rung in (missed, held) if rung is not None}
    slope = _slope({rung: max(strain, 1e-6) for rung, strain in strains.items()}, ladder)
    one = found[held]
    value = high * one.strain ** (1 / slope)
    if missed is not None:
        value = max(value, ladder.supply(missed))
    spread = [min(end / one.strain, _UNBOUNDED) ** (1 / slope) if one.strain > 0 else 1.0 for end in (one.lo, one.hi)]
    return Need(value, value * spread[0], value * spread[1])


def need_per_seed(pairs: Sequence[Mapping[int, T]], ladder: Ladder) -> list[float]:
    """The need of each seed alone, from runs of all seeds at the same rungs; beyond these along the slope between them."""
    out = []
    for runs in pairs:
        strains = {rung: min(max(one.strain, 1e-6), _UNBOUNDED) for rung, one in runs.items()}
        near = _nearest(strains)
        slope = _slope({rung: strains[rung] for rung in near}, ladder)
        nearest = min(near, key=lambda rung: abs(math.log(strains[rung])))
        out.append(ladder.supply(nearest) * strains[nearest] ** (1 / slope))
    return out


def difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Mean of log(a / b), paired by seed, and the ends of its 95 % interval by Student's t; unbounded from one seed.

    A standard error below half a rung in thirty is no knowledge but luck of few seeds, so it is not believed.
    """
    logs = [math.log(x / y) for x, y in zip(a, b, strict=True)]
    n = len(logs)
    mean = math.fsum(logs) / n
    if n == 1:
        return mean, -math.inf, math.inf
    error = math.sqrt(math.fsum((x - mean) ** 2 for x in logs) / (n - 1) / n)
    half = students_t(n - 1) * max(error, _LEAST_ERROR)
    return mean, mean - half, mean + half


_LEAST_ERROR = 0.005
