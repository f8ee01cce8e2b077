"""Where a figure's data come from: many runs of a scenario, as one tidy table.

A table has a column per axis, named by its key, then ``seed``, ``metric``, ``value``, ``lo``, ``hi``, ``n``: one row for each
point, seed and metric, of all requests together. ``lo`` and ``hi`` are the 95 % interval within that one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pandas import DataFrame

    from sim.sweep import Point

COLUMNS = ("seed", "metric", "value", "lo", "hi", "n")

Axes = Mapping[str, Sequence[str]]
"""Scenario key → its values as a scenario would have them; every combination is run."""

Watch = Callable[[int, int], None]
"""Told how many of how many runs, or searches, are done."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Asks for ``metrics`` at every combination of the axes' values, for every seed. ``sets``: overrides of all runs.

    A metric is of all requests, or of a tier's: ``attainment@chat``.
    """

    scenario: Path
    axes: Axes
    seeds: Sequence[int]
    metrics: Sequence[str]
    sets: Sequence[str] = ()

    @property
    def varied(self) -> list[str]:
        """The scenario keys that take several values."""
        return list(self.axes)


@dataclass(frozen=True, slots=True)
class Highest:
    """Asks for the highest value of ``key`` at which ``metric`` is at least so much, for every combination and for each seed alone.

    The answer's metric is ``highest``, ``lo`` and ``hi`` where the search is sure that it lies, and ``n`` the runs that it took.
    ``value`` is NaN where it lies outside ``between``. ``within``: relative width of the bracket to stop at; the value is
    interpolated in it.
    """

    scenario: Path
    key: str
    between: tuple[str, str]
    axes: Axes
    seeds: Sequence[int]
    metric: str
    at_least: float
    within: float = 0.02
    sets: Sequence[str] = ()

    @property
    def varied(self) -> list[str]:
        """The scenario keys that take several values."""
        return [*self.axes, self.key]


class Runner(Protocol):
    """Runs what a figure asks for."""

    @property
    def quick(self) -> bool:
        """Whether the figure should ask for little, for a look or a test."""
        ...

    def sweep(self, asked: Sweep) -> DataFrame: ...

    def sweeps(self, asked: Sequence[Sweep]) -> list[DataFrame]:
        """Several of one scenario, whose runs keep all cores busy together."""
        ...

    def highest(self, asked: Highest) -> DataFrame: ...

    def rest_on(self, sentence: str, seeds: Sequence[int] = ()) -> None:
        """Says what a figure's data rest on beside runs of scenarios: a closed form, another world, a table; for its caption."""
        ...


@dataclass
class Noting:
    """Passes everything on to a runner and notes what was asked, so that a caption tells what was run and nothing else."""

    runner: Runner
    asked: list[Sweep | Highest] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    @property
    def quick(self) -> bool:
        return self.runner.quick

    def sweep(self, asked: Sweep) -> DataFrame:
        self.asked.append(asked)
        return self.runner.sweep(asked)

    def sweeps(self, asked: Sequence[Sweep]) -> list[DataFrame]:
        self.asked.extend(asked)
        return self.runner.sweeps(asked)

    def highest(self, asked: Highest) -> DataFrame:
        self.asked.append(asked)
        return self.runner.highest(asked)

    def rest_on(self, sentence: str, seeds: Sequence[int] = ()) -> None:
        self.sentences.append(sentence)
        self.seeds.extend(seeds)


class SweepRunner:
    """Runs in the simulator, on all cores; what a cache folder holds already is not run again."""

    def __init__(
        self, *, quick: bool = False, cache: Path | None = None, jobs: int | None = None, watch: Watch | None = None
    ) -> None:
        self._quick = quick
        self._where: dict[str, Any] = {"cache": cache, "jobs": jobs}
        self._watch = watch

    @property
    def quick(self) -> bool:
        """Whether figures should ask for little."""
        return self._quick

    def rest_on(self, sentence: str, seeds: Sequence[int] = ()) -> None:
        """Nothing to do: whoever notes it (``Noting``) tells it."""

    def sweep(self, asked: Sweep) -> DataFrame:
        """What is asked for, of all requests together or of tiers.

        Raises:
            InputError: a run failed.
        """
        return self.sweeps([asked])[0]

    def sweeps(self, asked: Sequence[Sweep]) -> list[DataFrame]:
        """The same of several sweeps, the runs of all of them side by side.

        Raises:
            InputError: a run failed.
            ValueError: they are not of one scenario.
        """
        from sim.sweep import Point, SweepResult, sweep
        from traces.errors import InputError

        (scenario,) = {one.scenario for one in asked}
        grids = [_grid(one) for one in asked]
        points = [Point((*one.sets, *at.sets), at.seed) for one, grid in zip(asked, grids, strict=True) for at in grid]
        watch = self._watch
        told = watch and (lambda progress: watch(progress.done, progress.total))
        result = sweep(scenario, points, watch=told, **self._where)
        if result.faults:
            raise InputError(*result.faults)
        done = iter(result.results)
        mine = [SweepResult([replace(next(done), point=at) for at in grid]) for grid in grids]
        return [_asked_for(one, results.frame()) for one, results in zip(asked, mine, strict=True)]

    def highest(self, asked: Highest) -> DataFrame:
        """What is asked for. Searches run side by side, the probes of each one after the other.

        Raises:
            InputError: a run failed.
        """
        import pandas as pd

        from sim.backends import run_all
        from sim.sweep import coordinates
        from traces.errors import InputError

        grid = _grid(asked)
        tasks = [_Search(asked, (*asked.sets, *at.sets, f"seed={at.seed}"), self._where["cache"]) for at in grid]
        rows: dict[int, dict[str, Any]] = {}
        for index, (found, faults) in run_all(_search, tasks, jobs=self._where["jobs"]):
            if faults:
                raise InputError(*faults)
            rows[index] = {**coordinates(grid[index]), "seed": grid[index].seed, "metric": "highest", **found}
            if self._watch is not None:
                self._watch(len(rows), len(tasks))
        return pd.DataFrame([rows[i] for i in range(len(tasks))]).astype({"value": float, "lo": float, "hi": float})


def _asked_for(asked: Sweep, frame: DataFrame) -> DataFrame:
    named = frame["metric"].where(frame["group"] == "all", frame["metric"] + "@" + frame["group"])
    kept = frame.assign(metric=named)[named.isin(asked.metrics)]
    return kept[[*asked.axes, *COLUMNS]].reset_index(drop=True)


def _grid(asked: Sweep | Highest) -> list[Point]:
    from sim.sweep import Axis, points

    return points([Axis(key, tuple(values)) for key, values in asked.axes.items()], asked.seeds)


class _Search(NamedTuple):
    """One search, for a worker. ``sets``: all overrides, with the place on the axes and the seed."""

    asked: Highest
    sets: tuple[str, ...]
    cache: Path | None


def _search(task: _Search) -> tuple[dict[str, Any], tuple[str, ...]]:
    from sim.search import Goal, highest
    from traces.errors import InputError

    asked = task.asked
    field = f"{asked.key}={asked.between[0]}..{asked.between[1]}"
    goals = [Goal(asked.metric, asked.at_least)]
    try:
        answer = highest(asked.scenario, field, goals, within=asked.within, seeds=1, sets=task.sets, jobs=1, cache=task.cache)
    except InputError as error:
        return {}, tuple(error.faults)
    return {"value": answer.value, "lo": answer.lo, "hi": answer.hi, "n": answer.runs}, ()
