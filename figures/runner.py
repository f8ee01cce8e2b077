"""Where a figure's data come from: many runs of a scenario, as one tidy table.

A table has a column per axis, named by its key, then ``seed``, ``metric``, ``value``, ``lo``, ``hi``, ``n``: one row for each
point, seed and metric, of all requests together. ``lo`` and ``hi`` are the 95 % interval within that one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("seed", "metric", "value", "lo", "hi", "n")

Axes = Mapping[str, Sequence[str]]
"""Scenario key → its values as a scenario would have them; every combination is run."""

Watch = Callable[[int, int], None]
"""Told how many of how many runs, or searches, are done."""


class Runner(Protocol):
    """Runs what a figure asks for."""

    @property
    def quick(self) -> bool:
        """Whether the figure should ask for little, for a look or a test."""
        ...

    def sweep(
        self, scenario: Path, axes: Axes, *, seeds: Sequence[int], metrics: Sequence[str], sets: Sequence[str] = ()
    ) -> DataFrame:
        """The metrics at every combination of the axes' values, for every seed."""
        ...

    def highest(
        self,
        scenario: Path,
        key: str,
        between: tuple[str, str],
        axes: Axes,
        *,
        seeds: Sequence[int],
        metric: str,
        at_least: float,
        within: float = 0.02,
        sets: Sequence[str] = (),
    ) -> DataFrame:
        """The highest value of ``key`` at which ``metric`` is at least so much, for every combination and for each seed alone.

        The rows' metric is ``highest``, ``lo`` and ``hi`` where the search is sure that the answer lies, and ``n`` the runs that it
        took. ``value`` is NaN where the answer lies outside ``between``. ``within``: relative width of the bracket to stop at; the
        value is interpolated in it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a figure: which scenario, what was set and varied, which seeds."""

    scenario: Path
    sets: tuple[str, ...]
    axes: Axes
    seeds: tuple[int, ...]


@dataclass
class Noting:
    """Passes everything on to a runner and notes what was asked, so that a caption tells what was run and nothing else."""

    runner: Runner
    asked: list[Asked] = field(default_factory=list)

    @property
    def quick(self) -> bool:
        return self.runner.quick

    def sweep(self, scenario: Path, axes: Axes, *, seeds: Sequence[int], sets: Sequence[str] = (), **more: Any) -> DataFrame:
        """See :meth:`Runner.sweep`."""
        self.asked.append(Asked(scenario, tuple(sets), axes, tuple(seeds)))
        return self.runner.sweep(scenario, axes, seeds=seeds, sets=sets, **more)

    def highest(
        self,
        scenario: Path,
        key: str,
        between: tuple[str, str],
        axes: Axes,
        *,
        seeds: Sequence[int],
        sets: Sequence[str] = (),
        **more: Any,
    ) -> DataFrame:
        """See :meth:`Runner.highest`."""
        self.asked.append(Asked(scenario, tuple(sets), {**axes, key: between}, tuple(seeds)))
        return self.runner.highest(scenario, key, between, axes, seeds=seeds, sets=sets, **more)


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
        """See :class:`Runner`."""
        return self._quick

    def sweep(
        self, scenario: Path, axes: Axes, *, seeds: Sequence[int], metrics: Sequence[str], sets: Sequence[str] = ()
    ) -> DataFrame:
        """See :meth:`Runner.sweep`.

        Raises:
            InputError: a run failed.
        """
        from sim.sweep import Axis, points, sweep
        from traces.errors import InputError

        grid = points([Axis(key, tuple(values)) for key, values in axes.items()], seeds)
        watch = self._watch
        result = sweep(
            scenario, grid, sets=sets, watch=watch and (lambda progress: watch(progress.done, progress.total)), **self._where
        )
        if result.faults:
            raise InputError(*result.faults)
        frame = result.frame()
        kept = frame[(frame["group"] == "all") & frame["metric"].isin(metrics)]
        return kept[[*axes, *COLUMNS]].reset_index(drop=True)

    def highest(
        self,
        scenario: Path,
        key: str,
        between: tuple[str, str],
        axes: Axes,
        *,
        seeds: Sequence[int],
        metric: str,
        at_least: float,
        within: float = 0.02,
        sets: Sequence[str] = (),
    ) -> DataFrame:
        """See :meth:`Runner.highest`. Searches run side by side, the probes of each one after the other.

        Raises:
            InputError: a run failed.
        """
        import pandas as pd

        from sim.backends import run_all
        from sim.sweep import Axis, coordinates, points
        from traces.errors import InputError

        field = f"{key}={between[0]}..{between[1]}"
        grid = points([Axis(name, tuple(values)) for name, values in axes.items()], seeds)
        cache = self._where["cache"]
        tasks = [_Search(scenario, field, metric, at_least, within, (*sets, *at.sets, f"seed={at.seed}"), cache) for at in grid]
        rows: dict[int, dict[str, Any]] = {}
        for index, (found, faults) in run_all(_search, tasks, jobs=self._where["jobs"]):
            if faults:
                raise InputError(*faults)
            rows[index] = {**coordinates(grid[index]), "seed": grid[index].seed, "metric": "highest", **found}
            if self._watch is not None:
                self._watch(len(rows), len(tasks))
        return pd.DataFrame([rows[i] for i in range(len(tasks))]).astype({"value": float, "lo": float, "hi": float})


class _Search(NamedTuple):
    """One search of one seed, for a worker."""

    scenario: Path
    field: str
    metric: str
    at_least: float
    within: float
    sets: tuple[str, ...]
    cache: Path | None


def _search(task: _Search) -> tuple[dict[str, Any], tuple[str, ...]]:
    from sim.search import Goal, highest
    from traces.errors import InputError

    try:
        goals = [Goal(task.metric, task.at_least)]
        answer = highest(task.scenario, task.field, goals, within=task.within, seeds=1, sets=task.sets, jobs=1, cache=task.cache)
    except InputError as error:
        return {}, tuple(error.faults)
    return {"value": answer.value, "lo": answer.lo, "hi": answer.hi, "n": answer.runs}, ()
