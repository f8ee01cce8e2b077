"""From the record's rows to what figures show: curves over observations, final values, crashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.reproduction import Measured
from figures.scoot.record import COMMAND, load
from figures.scoot.studies import COMPARED, DIED, RETESTS, TILES, TRIALS, every, run
from figures.tuning.samplers import INITIAL
from policies.scoot.acquisition import hypervolume
from policies.streams import generator

if TYPE_CHECKING:
    from pandas import DataFrame

    from figures.runner import Runner

SERVICES = ("sql", "bot", "cls", "rec")
BASELINES = tuple(name for name in COMPARED if name != "scoot")
QUICK_SEEDS, QUICK_TRIALS = (1, 2, 3), 13
_DRAWS = 2000
_STUDY = ["service", "sampler", "parallel", "seed"]
"""Columns that tell a study, of one objective and space."""


def rows(
    runner: Runner, objective: str, samplers: Sequence[str], *, parallel: Sequence[int] = (1,), space: str = TILES
) -> DataFrame:
    """The record's rows of such studies; in a quick figure, of studies that are run now: one service, few seeds, few trials."""
    import pandas as pd

    if runner.quick:
        asked = [
            one
            for one in every(QUICK_SEEDS)
            if (one.service, one.objective, one.space) == ("bot", objective, space)
            and one.sampler in samplers
            and one.parallel in parallel
        ]
        runner.rest_on("Studies run for this figure: one service, few trials.", QUICK_SEEDS)
        return pd.DataFrame([row for one in asked for row in run(one, QUICK_TRIALS)])
    frame, code = load()
    kept = frame[(frame["objective"] == objective) & frame["sampler"].isin(samplers) & frame["parallel"].isin(parallel)]
    kept = kept[kept["space"] == space]
    kept = kept.astype({"service": "str", "sampler": "str", "kind": "str", "failure": "str"})
    seeds = sorted(kept["seed"].unique().tolist())
    runner.rest_on(
        f"Simulated studies of {TRIALS} trials, fresh traffic in each trial, the same for all samplers; recorded by `{COMMAND}` "
        f"(code {code}).",
        seeds,
    )
    return kept.reset_index(drop=True)


def curves(frame: DataFrame, value: Callable[[DataFrame], np.ndarray], trials: int = TRIALS) -> DataFrame:
    """``value`` after each observation, counted from 1, one row per study and observation; one that stopped keeps its last."""
    import pandas as pd

    found = []
    for place, study in frame[frame["kind"] == "trial"].groupby(_STUDY, sort=False):
        values = value(study.sort_values("number"))
        values = np.concatenate([values, np.full(max(0, trials - len(values)), values[-1])])
        table = pd.DataFrame({"observations": np.arange(1, len(values) + 1), "value": values})
        found.append(table.assign(**dict(zip(_STUDY, place, strict=True))))
    return pd.concat(found, ignore_index=True)


def best_so_far(study: DataFrame) -> np.ndarray:
    """The highest throughput yet over the default's, in %; 0 at first."""
    values = study["first"].to_numpy(dtype=float)
    best = np.fmax.accumulate(np.where(np.isnan(values), -np.inf, values))
    return 100 * (best / values[0] - 1)


def volume(study: DataFrame) -> np.ndarray:
    """The share of the square between zero latency and the default's TTFT and TPOT that the trials dominate, in %."""
    costs = study[["first", "second"]].to_numpy(dtype=float)
    relative = costs / costs[0]
    reference, ideal = np.ones(2), np.zeros(2)
    found = []
    for count in range(1, len(relative) + 1):
        known = relative[:count][~np.isnan(relative[:count]).any(axis=1)]
        found.append(100 * hypervolume(known, reference, ideal))
    return np.array(found)


def quartiles(frame: DataFrame, by: str) -> DataFrame:
    """Median, and first and third quartile over seeds, of ``value`` at each ``by``."""
    grouped = frame.groupby(by)["value"]
    return grouped.quantile([0.25, 0.5, 0.75]).unstack().rename(columns={0.25: "lo", 0.5: "median", 0.75: "hi"})


def finals(frame: DataFrame, kind: str = "retest") -> DataFrame:
    """Worst throughput of the re-tests of a study's best that survives them (or of the default: ``retest-default``), one row per
    study; 0 where even the default does not survive."""
    tested = frame[frame["kind"] == kind]
    grouped = tested.groupby(_STUDY, sort=False)["first"]
    return grouped.min().where(grouped.count() == RETESTS, 0.0).rename("value").reset_index()


def first_choices(frame: DataFrame) -> DataFrame:
    """The same, but a study whose best dies when tested again has 0, and not what the next best is worth."""
    found = finals(frame)
    died = frame[frame["kind"] == DIED].groupby(_STUDY, sort=False).size().index
    return found.assign(value=found["value"].where(~found.set_index(_STUDY).index.isin(died), 0.0))


def crashes(frame: DataFrame) -> DataFrame:
    """Trials that did not survive, one row per study."""
    tried = frame[frame["kind"] == "trial"]
    counts = tried.assign(value=(tried["failure"] != "").astype(float))
    return counts.groupby(_STUDY, sort=False)["value"].sum().reset_index()


def late_crashes(frame: DataFrame) -> DataFrame:
    """Of the trials after a study's tenth success, when samplers with a design have ended it, the share that did not survive, in %;
    one row per study that has such trials."""
    tried = frame[frame["kind"] == "trial"].sort_values("number")
    lived = tried["failure"] == ""
    before = lived.groupby([tried[column] for column in _STUDY]).cumsum() - lived
    late = tried.assign(value=100.0 * ~lived)[before >= INITIAL]
    return late.groupby(_STUDY, sort=False)["value"].mean().reset_index()


Medians = Mapping[str, float]
"""Sampler → its median over seeds, of one service."""


def resampled(tables: Sequence[DataFrame], statistic: Callable[[Sequence[Medians]], float]) -> Measured:
    """A statistic of the medians of tables (rows: seeds; columns: samplers) with its 95 % bootstrap interval over the seeds;
    unknown where a table is empty, as those of services are that a quick figure leaves out."""
    seeds = min(map(len, tables), default=0)
    if not seeds:
        return Measured(None)
    found = statistic([dict(table.median()) for table in tables])
    if seeds < 2:
        return Measured(found, seeds=seeds, note="one seed has no interval")
    rng = generator(0, "figures", "scoot", "bootstrap")
    medians = []
    for table in tables:  # drawn anew for each: services have no luck in common
        drawn = table.to_numpy(dtype=float)[rng.integers(len(table), size=(_DRAWS, len(table)))]
        medians.append([dict(zip(table.columns, row, strict=True)) for row in np.median(drawn, axis=1).tolist()])
    lo, hi = np.quantile([statistic(one) for one in zip(*medians, strict=True)], [0.025, 0.975]).tolist()
    return Measured(found, lo, hi, seeds)


def by_sampler(frame: DataFrame, service: str) -> DataFrame:
    """``value`` with a row per seed and a column per sampler, of one service."""
    return frame[frame["service"] == service].pivot(index="seed", columns="sampler", values="value").dropna()


def lead(services: Sequence[Medians]) -> float:
    """SCOOT's median over the best baseline's, of one service."""
    (medians,) = services
    return medians["scoot"] / max(value for name, value in medians.items() if name != "scoot")


def margin(services: Sequence[Medians]) -> float:
    """SCOOT's median less the best baseline's, of one service."""
    (medians,) = services
    return medians["scoot"] - max(value for name, value in medians.items() if name != "scoot")


def wins(services: Sequence[Medians]) -> float:
    """On how many services SCOOT's median is not below any baseline's."""
    return float(sum(margin([medians]) >= 0 for medians in services))


def fewest(services: Sequence[Medians]) -> float:
    """On how many services SCOOT's median is below every baseline's."""
    return float(sum(margin([{name: -value for name, value in medians.items()}]) > 0 for medians in services))


def without(tables: Sequence[DataFrame], name: str) -> list[DataFrame]:
    """The tables less a sampler."""
    return [table.drop(columns=name, errors="ignore") for table in tables]
