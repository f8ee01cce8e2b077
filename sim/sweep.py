"""Many runs of one scenario with fields varied: each point is computed once, kept, and told in one tidy table.

A point is a few overrides and a seed. Points share their seeds, so that two of them differ by what was varied and not by luck.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sim import backends
from traces.aside import aside
from traces.errors import InputError
from traces.hashes import hash_code
from traces.intervals import UNKNOWN, Estimate
from traces.scenario import Scenario, load_scenario
from traces.scenario.sweep import Axis as Axis
from traces.scenario.sweep import parse_axis as parse_axis
from traces.units import parse_quantity

if TYPE_CHECKING:
    import pandas as pd

    from sim.pointcache import PointCache

EVERYONE = "all"
"""The group of all requests in a sweep's table; the other groups are the tiers."""


@dataclass(frozen=True, slots=True)
class Point:
    """``sets``: overrides as `--set` takes them, one per axis."""

    sets: tuple[str, ...]
    seed: int


def points(axes: Sequence[Axis], seeds: Sequence[int]) -> list[Point]:
    """Every combination of the axes' values with every seed; the last axis changes fastest, and seeds faster still.

    Raises:
        InputError: an axis is named twice, or is the seed, which is varied by ``seeds``.
    """
    keys = [axis.key for axis in axes]
    if twice := [key for i, key in enumerate(keys) if key in keys[:i]]:
        raise InputError(f"--vary {twice[0]}: is given twice; join the values in one")
    if "seed" in keys:
        raise InputError("--vary seed: every point has the same seeds; say how many with --seeds")
    combinations = itertools.product(*([f"{axis.key}={value}" for value in axis.values] for axis in axes))
    return [Point(sets, seed) for sets in combinations for seed in seeds]


def points_of(scenario_path: str | Path, vary: Sequence[str], seeds: int | None, sets: Sequence[str] = ()) -> list[Point]:
    """What the command line asks for: axes as texts, or else those of the scenario's `sweep:`; seeds from the scenario's own on.

    Raises:
        InputError: an axis or the scenario is at fault.
    """
    axes = [parse_axis(text) for text in vary]
    scenario = load_scenario(scenario_path, sets)
    if not axes and scenario.sweep is not None:
        axes = scenario.sweep.axes(Path(scenario_path).parent)
    if seeds is None:
        seeds = 1 if scenario.sweep is None else scenario.sweep.seeds
    if not axes and seeds == 1:
        raise InputError(f"{scenario_path}: nothing is varied; give --vary KEY=VALUES, --seeds, or the file a `sweep:`")
    return points(axes, range(scenario.seed, scenario.seed + seeds))


@dataclass(frozen=True, slots=True)
class PointResult:
    """What became of a point: ``text``, a summary as JSON, or else ``faults``, one line each.

    ``key``: its content hash, ``None`` where the scenario could not be read with these overrides. ``cached``: it was not run.
    """

    point: Point
    key: str | None = None
    text: str | None = None
    faults: tuple[str, ...] = ()
    cached: bool = False

    def summary(self) -> dict[str, Any]:
        """``traces.metrics.Summary`` as plain JSON; empty where there are faults."""
        return {} if self.text is None else dict(json.loads(self.text))


class Progress(NamedTuple):
    """``ran``: points computed, and not found in the cache, so far. ``latest``: the one that is new."""

    done: int
    ran: int
    total: int
    latest: PointResult


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Results in the order of the points, whichever worker computed them. ``warnings``: about the sweep itself."""

    results: Sequence[PointResult]
    warnings: Sequence[str] = ()

    @property
    def faults(self) -> dict[str, int]:
        """Fault → number of points that have it."""
        found: dict[str, int] = {}
        for fault in (fault for result in self.results for fault in result.faults):
            found[fault] = found.get(fault, 0) + 1
        return found

    @property
    def axes(self) -> list[str]:
        """The keys that were varied."""
        return list(dict.fromkeys(key for result in self.results for key in coordinates(result.point)))

    def frame(self) -> pd.DataFrame:
        """One row per point, group and metric.

        Columns: the axes' keys (numbers in SI units, or texts), seed, group ("all" or a tier), metric, value, lo, hi (95 %), n,
        note, fault, and point (the content hash). Of each point, the row "warnings" counts the run's warnings and holds them as its
        note. A point that failed has one row, whose metric is "fault".
        """
        import pandas as pd

        keys = self.axes
        columns: dict[str, list[Any]] = {name: [] for name in (*keys, *COLUMNS)}
        for result in self.results:
            place = coordinates(result.point)
            rows = list(_rows(result))
            for key in keys:
                columns[key] += [place.get(key)] * len(rows)
            columns["seed"] += [result.point.seed] * len(rows)
            columns["point"] += [result.key] * len(rows)
            for name, values in zip(COLUMNS[1:-1], zip(*rows, strict=True), strict=True):
                columns[name] += values
        typed: dict[str, Any] = {key: _uniform(columns[key]) for key in keys}
        typed |= {name: pd.Series(columns[name], dtype=kind) for name, kind in _COLUMN_TYPES.items()}
        return pd.DataFrame(typed)

    def write(self, path: str | Path) -> None:
        """The frame as a Parquet file, all or nothing; equal results give equal bytes.

        Raises:
            InputError: it cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        target = Path(path)
        table = pa.Table.from_pandas(self.frame(), preserve_index=False).replace_schema_metadata(None)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with aside(target) as temporary:
                pq.write_table(table, temporary, version="2.6", compression="zstd")
                os.replace(temporary, target)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another file with --out") from None


_COLUMN_TYPES = {
    "seed": "int64",
    "group": "str",
    "metric": "str",
    "value": "float64",
    "lo": "float64",
    "hi": "float64",
    "n": "int64",
    "note": "str",
    "fault": "str",
    "point": "str",
}
COLUMNS = tuple(_COLUMN_TYPES)
"""Of a table, after the axes that were varied."""


def sweep(
    scenario_path: str | Path,
    points: Sequence[Point],
    *,
    sets: Sequence[str] = (),
    backend: str = "loky",
    jobs: int | None = None,
    cluster: str | None = None,
    cache: Path | None = None,
    watch: Watch | None = None,
) -> SweepResult:
    """Run every point of a scenario that the cache does not hold. ``sets``: overrides of all points, before their own.

    ``backend``, ``jobs``, ``cluster``: as ``sim.backends.run_all``. ``cache``: a folder; ``None`` = nothing is kept. A point that
    fails is told in the result and stops no other; interrupted, the sweep leaves in the cache what was done by then.

    Raises:
        InputError: the backend, the cluster or the cache cannot be used, or a worker died.
    """
    workers = backends.workers(backend, jobs, len(points))
    return Runner(scenario_path, sets=sets, backend=backend, jobs=workers, cluster=cluster, cache=cache).run(points, watch)


class Runner:
    """Runs points of one scenario, a few at a time: what they share is read once. Parameters: as ``sweep``."""

    def __init__(
        self,
        scenario_path: str | Path,
        *,
        sets: Sequence[str] = (),
        backend: str = "loky",
        jobs: int | None = None,
        cluster: str | None = None,
        cache: Path | None = None,
    ) -> None:
        from sim.pointcache import Keys, PointCache

        backends.check(backend, jobs, cluster)
        self._path, self._sets = scenario_path, tuple(sets)
        self._where: dict[str, Any] = {"backend": backend, "jobs": jobs, "cluster": cluster}
        self._cache: PointCache | None = None if cache is None else PointCache(cache)
        self._keys = Keys()
        self._warnings: list[str] = []

    def scenario(self, sets: Sequence[str] = ()) -> Scenario:
        """The scenario under all points' overrides, and then these.

        Raises:
            InputError: the file, or an override, is at fault.
        """
        return load_scenario(self._path, (*self._sets, *sets))

    def run(self, points: Sequence[Point], watch: Watch | None = None) -> SweepResult:
        """As ``sweep``."""
        results: dict[int, PointResult] = {}
        tasks: dict[str, _Task] = {}
        places: dict[str, list[int]] = {}
        ran = 0

        def keep(place: int, result: PointResult) -> None:
            results[place] = result
            if watch is not None:
                watch(Progress(len(results), ran, len(points), result))

        for place, point in enumerate(points):
            try:
                scenario = self.scenario((*point.sets, f"seed={point.seed}"))
                key = self._keys.key(scenario)
            except InputError as error:
                keep(place, PointResult(point, faults=tuple(error.faults)))
                continue
            text = None if self._cache is None else self._cache.get(key)
            if text is not None:
                keep(place, PointResult(point, key, _named(text, scenario.name), cached=True))
                continue
            tasks.setdefault(key, _Task(scenario, hash_code()))
            places.setdefault(key, []).append(place)
        keys = list(tasks)
        with closing(backends.run_all(_play, list(tasks.values()), **self._where)) as computed:
            for index, (text, faults) in computed:
                key = keys[index]
                ran += 1
                if text is not None:
                    self._store(key, text)
                for place in places[key]:
                    keep(place, PointResult(points[place], key, text, faults))
        return SweepResult([results[place] for place in range(len(points))], tuple(self._warnings))

    def _store(self, key: str, text: str) -> None:
        if self._cache is None:
            return
        try:
            self._cache.put(key, text)
        except OSError as error:
            self._warnings.append(f"results are no longer kept in the cache: {error.strerror or error}")
            self._cache = None


def run_point(scenario_path: str | Path, sets: Sequence[str] = ()) -> dict[str, Any]:
    """One run in this process, not cached: the summary as plain JSON.

    Raises:
        InputError: the scenario cannot be run.
    """
    return dict(json.loads(_summary(load_scenario(scenario_path, sets))))


def coordinates(point: Point) -> dict[str, int | float | str]:
    """Key → value of each override: a number (in SI units if it was written with one), or the text."""
    return {key.strip(): _typed(text) for key, _, text in (override.partition("=") for override in point.sets)}


def estimate(flat: Mapping[str, Any], metric: str) -> Estimate:
    """An estimate out of the ``metrics``, or a tier, of a summary as plain JSON."""
    if metric not in flat:
        return UNKNOWN
    lo, hi, n, note = (flat.get(f"{metric}.{part}") for part in ("lo", "hi", "n", "note"))
    return Estimate(flat[metric], lo, hi, n or 0, note or "")


class _Task(NamedTuple):
    """All that a worker needs besides the code and the trace files. ``code``: what hash its code must have."""

    scenario: Scenario
    code: str


def _play(task: _Task) -> tuple[str | None, tuple[str, ...]]:
    """Runs in a worker. A policy may come from anyone and fail in any way, which must not end the sweep."""
    try:
        if hash_code() != task.code:
            return None, (
                "workers: they run other code than this process; install the same TwinServe there, or start again if you edited it",
            )
        return _summary(task.scenario), ()
    except InputError as error:
        return None, tuple(error.faults)
    except Exception as error:
        import traceback

        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return None, (f"{Path(frame.filename).name}:{frame.lineno}: {text}; `twinserve run` with the same --set shows it alone",)


def _summary(scenario: Scenario) -> str:
    from sim.run import simulate
    from traces.metrics import summarise

    return json.dumps(summarise(simulate(scenario)).to_json(), ensure_ascii=False)


def _named(text: str, name: str) -> str:
    """A cached summary may stem from a scenario of another name."""
    summary = json.loads(text)
    return text if summary["scenario"] == name else json.dumps(summary | {"scenario": name}, ensure_ascii=False)


def _rows(result: PointResult) -> Iterator[tuple[Any, ...]]:
    """group, metric, value, lo, hi, n, note, fault."""
    if result.text is None:
        yield EVERYONE, "fault", None, None, None, 0, None, "; ".join(result.faults)
        return
    summary = result.summary()
    for group, flat in ((EVERYONE, summary["metrics"]), *summary["tiers"].items()):
        for metric in (key for key in flat if f"{key}.n" in flat):
            e = estimate(flat, metric)
            yield group, metric, e.value, e.lo, e.hi, e.n, e.note or None, None
    warnings = summary["warnings"]
    yield EVERYONE, "warnings", len(warnings), None, None, 0, "; ".join(warnings) or None, None


def _typed(text: str) -> int | float | str:
    text = text.strip()
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    quantity = parse_quantity(text) if text else None
    return text if quantity is None else quantity


def _uniform(values: list[Any]) -> pd.Series:
    """A column of one type: numbers where all are, else texts."""
    import pandas as pd

    if all(isinstance(value, int) for value in values):
        return pd.Series(values, dtype="int64")
    if all(isinstance(value, int | float) or value is None for value in values):
        return pd.Series(values, dtype="float64")
    return pd.Series([None if value is None else str(value) for value in values], dtype="str")
