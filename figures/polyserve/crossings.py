"""Where attainment falls below 90 %, for several seeds: runs about that place alone, as the others tell nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from figures.polyserve.curves import LEVEL, METRICS, knee, swept
from figures.polyserve.setting import OURS, Workload
from figures.runner import Runner

if TYPE_CHECKING:
    from pandas import DataFrame

STEP = 5
"""Percent of the optimum between two runs: the curve is taken to be straight in between."""
_MOST = 8
"""Steps that a search goes either way."""
_RIVALS = 0.95
"""Share of the best rival's rate at 90 %, on the curve, from which a rival is looked at with more seeds."""


class Fleet(NamedTuple):
    """What is searched on."""

    workload: Workload
    style: str
    engines: int


def crossings(
    runner: Runner, fleet: Fleet, systems: Mapping[str, str], begin: Mapping[str, float], seeds: Sequence[int]
) -> DataFrame:
    """Runs that enclose each system's rate at 90 %, for each seed; the columns of ``curves.swept``.

    Every seed has runs half a step to either side of where the search begins, in percent of the optimum; one that is in time in
    both gets further ones, a step on, and so does, a step down, one that is late at the lowest rate.
    """
    import pandas as pd

    frames = [_search(runner, fleet, {name: systems[name]}, start, seeds) for name, start in begin.items()]
    return pd.concat(frames, ignore_index=True)


def _search(runner: Runner, fleet: Fleet, system: Mapping[str, str], start: float, seeds: Sequence[int]) -> DataFrame:
    import pandas as pd

    low = max(STEP, round(start - STEP / 2))
    high = low + STEP
    frames = [_runs(runner, fleet, system, (low, high), seeds)]
    for _ in range(_MOST):
        up, down = _open(pd.concat(frames), system, seeds)
        low, high = low - STEP, high + STEP
        if up:
            frames.append(_runs(runner, fleet, system, (high,), up))
        if down and low > 0:
            frames.append(_runs(runner, fleet, system, (low,), down))
        if not up and not down:
            break
    return pd.concat(frames, ignore_index=True)


def _runs(runner: Runner, fleet: Fleet, system: Mapping[str, str], percent: Sequence[int], seeds: Sequence[int]) -> DataFrame:
    return swept(runner, fleet.workload, fleet.style, system, percent, seeds, METRICS, fleet.engines)


def _open(frame: DataFrame, system: Iterable[str], seeds: Sequence[int]) -> tuple[list[int], list[int]]:
    """The seeds that are in time in all runs so far, and those that are not at the lowest rate, however they are beyond it."""
    (name,) = system
    rows = frame[(frame["system"] == name) & (frame["metric"] == "attainment_dslo")].sort_values("percent")
    by_seed = rows.groupby("seed")["value"]
    least, first = by_seed.min(), by_seed.first()
    return [s for s in seeds if least[s] >= LEVEL], [s for s in seeds if first[s] < LEVEL]


def starts(curve: DataFrame, systems: Iterable[str]) -> dict[str, float]:
    """Where to search, by a curve of one seed: PolyServe's place and those of the rivals that come close to the best one."""
    places = {system: _place(curve, system) for system in systems}
    best = max(place for system, place in places.items() if system != OURS)
    return {system: place for system, place in places.items() if system == OURS or place >= _RIVALS * best}


def _place(curve: DataFrame, system: str) -> float:
    """The curve's knee; where it has none, the end that is next to it."""
    found = knee(curve, system).dropna()
    if len(found):
        return float(found.mean())
    rows = curve[(curve["system"] == system) & (curve["metric"] == "attainment_dslo")]
    return float(rows["percent"].max() if (rows["value"] >= LEVEL).all() else rows["percent"].min())
