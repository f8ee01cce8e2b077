"""Where attainment falls below 90 %, for several seeds: runs about that place alone, as the others tell nothing of it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from figures.polyserve.curves import LEVEL, Fleet, Runs, knee, ran
from figures.polyserve.setting import OURS
from figures.runner import Runner

if TYPE_CHECKING:
    from pandas import DataFrame

STEP = 5
"""Percent of the optimum between two runs: the curve is taken to be straight in between."""
_MOST = 8
"""Steps that a search goes either way."""
_RIVALS = 0.95
"""Share of the best rival's rate at 90 %, on the curve, from which a rival is looked at with more seeds."""


class Search(NamedTuple):
    """Where a system's attainment falls on a fleet. ``begin``: where to look first, in percent of the optimum."""

    fleet: Fleet
    system: str
    stack: str
    begin: float


def crossings(runner: Runner, searches: Sequence[Search], seeds: Sequence[int]) -> list[DataFrame]:
    """For each search, runs that enclose the rate at 90 % for each seed; the columns of ``curves.ran``.

    Every seed has runs half a step to either side of where the search begins; one that is in time in both gets further ones, a step
    on, and so does, a step down, one that is late at the lowest rate. All searches take each round together, which keeps all cores
    busy.
    """
    import pandas as pd

    under_way = {search: _search(search, seeds) for search in searches}
    wanted = {search: next(rounds) for search, rounds in under_way.items()}
    found: dict[Search, list[DataFrame]] = {search: [] for search in searches}
    while wanted:
        asked = [(search, runs) for search, round_ in wanted.items() for runs in round_]
        for (search, _), frame in zip(asked, ran(runner, [runs for _, runs in asked]), strict=True):
            found[search].append(frame)
        following = {search: under_way[search].send(pd.concat(found[search], ignore_index=True)) for search in wanted}
        wanted = {search: runs for search, runs in following.items() if runs}
    return [pd.concat(found[search], ignore_index=True) for search in searches]


def _search(search: Search, seeds: Sequence[int]) -> Generator[list[Runs], DataFrame, None]:
    """Rounds of runs, each in view of all that came of those before; none in the last one."""
    low = max(STEP, round(search.begin - STEP / 2))
    high = low + STEP

    def runs(percent: Sequence[int], seeds: Sequence[int]) -> Runs:
        return Runs(search.fleet, search.system, search.stack, percent, seeds)

    so_far = yield [runs((low, high), seeds)]
    for _ in range(_MOST):
        up, down = _open(so_far, seeds)
        low, high = low - STEP, high + STEP
        further = [runs((high,), up)] if up else []
        if down and low > 0:
            further.append(runs((low,), down))
        if not further:
            break
        so_far = yield further
    yield []


def _open(frame: DataFrame, seeds: Sequence[int]) -> tuple[list[int], list[int]]:
    """The seeds that are in time in all runs so far, and those that are not at the lowest rate, however they are beyond it."""
    rows = frame[frame["metric"] == "attainment_dslo"].sort_values("percent")
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
