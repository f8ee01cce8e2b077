"""How much of a knob a deployment bears: the highest value at which online latency stays within its objectives.

HyGen's SLO-aware profiler (arXiv 2501.14808, §4.3): a binary search over runs of the online trace with the offline backlog. An
objective is a tolerance relative to the run without offline work, or an absolute limit; of several, the tightest binds. It is to
hold on runs that the profile has not seen, so that a value is judged by what as many further runs will show. Values lie on a fixed
geometric grid, so that searches for several objectives share their runs, which the sweep's cache keeps by content: scenario,
traces, fingerprint, code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.sweep import EVERYONE, Point, sweep
from traces.errors import InputError
from traces.intervals import students_t

Measure = Callable[[float | None], Mapping[str, Sequence[float]]]
"""Value of the knob, ``None`` = no offline work → metric, of a tier as in ``itl_s.p99@chat`` → a figure per seed, in one order."""


@dataclass(frozen=True, slots=True)
class Objective:
    """``metric`` may be ``tolerance`` above that of the run without offline work, or ``at_most``.

    Raises:
        ValueError: it has both, or neither.
    """

    metric: str
    tolerance: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.tolerance is None) == (self.at_most is None):
            raise ValueError("an objective has either a tolerance or a limit")


@dataclass(frozen=True, slots=True)
class Load:
    """The share of the limit that is used: geometric mean over seeds and its 95 % interval; 1 is just within.

    ``foreseen``: the upper end of the interval that as many further runs will have, at most (95 %).
    """

    mean: float
    lo: float
    hi: float
    foreseen: float


@dataclass(frozen=True, slots=True)
class Profile:
    """``value``: the highest that keeps all objectives, ``None`` where the lowest does not. ``loads``: of each probe, one per
    objective.
    """

    value: float | None
    loads: Mapping[float, Sequence[Load]]


def grid(low: float, high: float, ratio: float) -> tuple[float, ...]:
    """Values from ``low`` to at least ``high``, each ``ratio`` times the one before, to four digits."""
    steps = math.ceil(math.log(high / low) / math.log(ratio))
    return tuple(float(f"{low * ratio**step:.4g}") for step in range(steps + 1))


def profile(measure: Measure, values: Sequence[float], objectives: Sequence[Objective], known: Collection[float] = ()) -> Profile:
    """The highest of ``values``, which rise, that will keep the objectives on further runs, upper ends of intervals included.

    ``known``: values that have been measured before. They are looked at first.
    """
    loads: dict[float, Sequence[Load]] = {}

    def holds(place: int) -> bool:
        value = values[place]
        loads[value] = [load(objective, measure(value), measure(None)) for objective in objectives]
        return all(one.foreseen <= 1 for one in loads[value])

    place = last_held(holds, len(values), [place for place, value in enumerate(values) if value in known])
    return Profile(None if place is None else values[place], loads)


def load(objective: Objective, found: Mapping[str, Sequence[float]], alone: Mapping[str, Sequence[float]]) -> Load:
    """How much of an objective is used up; both runs saw the same arrivals and noise, seed by seed."""
    mine = found[objective.metric]
    if objective.at_most is not None:
        return _over_seeds([one / objective.at_most for one in mine])
    assert objective.tolerance is not None
    limits = [(1 + objective.tolerance) * base for base in alone[objective.metric]]
    return _over_seeds([one / limit for one, limit in zip(mine, limits, strict=True)])


def simulated(
    scenario: Path,
    knob: str,
    without: Sequence[str],
    metrics: Sequence[str],
    seeds: Sequence[int],
    *,
    sets: Sequence[str] = (),
    cache: Path | None = None,
    jobs: int | None = None,
) -> Measure:
    """A measure that simulates ``scenario``. ``without``: overrides under which no offline work is done."""
    seen: dict[float | None, Mapping[str, Sequence[float]]] = {}

    def measure(value: float | None) -> Mapping[str, Sequence[float]]:
        if value not in seen:
            own = tuple(without) if value is None else (f"{knob}={value}",)
            result = sweep(scenario, [Point(own, seed) for seed in seeds], sets=sets, cache=cache, jobs=jobs)
            if result.faults:
                raise InputError(*result.faults)
            frame = result.frame()
            named = frame["metric"].where(frame["group"] == EVERYONE, frame["metric"] + "@" + frame["group"])
            by_seed = {metric: frame[named == metric].set_index("seed")["value"] for metric in metrics}
            seen[value] = {metric: [float(column.loc[seed]) for seed in seeds] for metric, column in by_seed.items()}
        return seen[value]

    return measure


def last_held(holds: Callable[[int], bool], number: int, known: Iterable[int] = ()) -> int | None:
    """The last of ``number`` places that ``holds``, where all before it do; ``None`` where the first does not. Binary search,
    between the ``known`` places, which rise and cost nothing to ask.
    """
    low, high = -1, number
    for place in known:
        if not holds(place):
            high = place
            break
        low = place
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return None if low < 0 else low


def _over_seeds(ratios: Sequence[float]) -> Load:
    if not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        return Load(math.nan, math.nan, math.inf, math.inf)
    logs = [math.log(ratio) for ratio in ratios]
    n, mean = len(logs), math.fsum(logs) / len(logs)
    if n == 1:
        return Load(math.exp(mean), math.exp(mean), math.exp(mean), math.exp(mean))
    half = students_t(n - 1) * math.sqrt(math.fsum((x - mean) ** 2 for x in logs) / (n - 1) / n)
    # The means of two sets of n runs differ by half × √2 at most, and the second has an interval of its own.
    ahead = half * (math.sqrt(2) + 1)
    return Load(*(math.exp(mean + by) for by in (0.0, -half, half, ahead)))
