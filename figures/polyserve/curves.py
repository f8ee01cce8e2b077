"""Attainment over rate: runs at shares of the optimum, and the rate at which a curve falls below 90 %."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from figures.paper import series_look
from figures.polyserve.setting import OURS, SCENARIO, Workload, optimum, policy_sets
from figures.reproduction import Measured, over_seeds, ratio_over_seeds
from figures.runner import Runner, Sweep
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame, Series

METRICS = ("attainment_dslo", "gpu_s", "throughput_req_s", "goodput_req_s")
LEVEL = 0.9
ENGINES = 20
_APART = 2.2
"""Points of attainment between the bars of two systems' crossings, which are drawn about the line at 90 %."""
CURVE, CROSSING = "curve", "crossing"
"""What runs are for (column ``part``): a whole curve, or the place where it falls below ``LEVEL``, for several seeds."""


class Fleet(NamedTuple):
    """What serves what, and how."""

    workload: Workload
    style: str
    engines: int = ENGINES


class Runs(NamedTuple):
    """One system at shares of the optimal rate (%), under each seed."""

    fleet: Fleet
    system: str
    stack: str
    percent: Sequence[int]
    seeds: Sequence[int]


def ran(runner: Runner, asked: Sequence[Runs], metrics: Sequence[str] = METRICS) -> list[DataFrame]:
    """What each asks for: columns system, percent (of the optimal rate), rate_per_s, then those of the runner."""
    optima = {fleet: optimum(*fleet) for fleet in {runs.fleet for runs in asked}}
    sweeps = []
    for runs in asked:
        workload, style, engines = runs.fleet
        rate, prefillers = optima[runs.fleet]
        rates = list(dict.fromkeys(f"{rate * share / 100:.4g}/s" for share in runs.percent))
        sets = (*workload.sets(quick=runner.quick), *policy_sets(runs.system, runs.stack, style, engines, prefillers))
        sweeps.append(Sweep(SCENARIO, {"workload.chat.rate": rates}, runs.seeds, metrics, sets))
    found = []
    for runs, frame in zip(asked, runner.sweeps(sweeps), strict=True):
        frame = frame.rename(columns={"workload.chat.rate": "rate_per_s"})
        frame.insert(0, "percent", (100 * frame["rate_per_s"] / optima[runs.fleet][0]).round(1))
        frame.insert(0, "system", runs.system)
        found.append(frame)
    return found


def swept(
    runner: Runner,
    fleet: Fleet,
    systems: Mapping[str, str],
    percent: Sequence[int],
    seeds: Sequence[int],
    metrics: Sequence[str] = METRICS,
) -> DataFrame:
    """Every system at every rate, in one table."""
    import pandas as pd

    asked = [Runs(fleet, system, stack, percent, seeds) for system, stack in systems.items()]
    return pd.concat(ran(runner, asked, metrics), ignore_index=True)


def knee(frame: DataFrame, system: str, level: float = LEVEL) -> Series[Any]:
    """Per seed the rate, in % of the optimum, at which attainment falls below the level: linear between two runs.

    NaN where all runs are on one side.
    """
    import pandas as pd

    rows = frame[(frame["system"] == system) & (frame["metric"] == "attainment_dslo")]
    found = {}
    for seed, curve in rows.sort_values("percent").groupby("seed"):
        x, y = curve["percent"].to_numpy(), curve["value"].to_numpy(float)
        below = np.flatnonzero(y < level)
        at = int(below[0]) if len(below) else 0
        found[seed] = x[at - 1] + (x[at] - x[at - 1]) * (y[at - 1] - level) / (y[at - 1] - y[at]) if at else np.nan
    return pd.Series(found, dtype=float)


def best_rival(frame: DataFrame, systems: Iterable[str]) -> str:
    """The system with the highest mean knee, PolyServe apart; one that stays above the level at every rate is ahead of all."""

    def place(system: str) -> float:
        rows = frame[(frame["system"] == system) & (frame["metric"] == "attainment_dslo")]
        if (rows.groupby("seed")["value"].min() >= LEVEL).any():
            return float("inf")
        return float(np.nan_to_num(knee(frame, system).mean()))

    return max((s for s in systems if s != OURS), key=place)


def knee_ratio(frame: DataFrame, systems: Iterable[str]) -> Measured:
    """PolyServe's knee over that of the best rival."""
    rival = best_rival(frame, systems)
    found = ratio_over_seeds(knee(frame, OURS), knee(frame, rival))
    return Measured(found.value, found.lo, found.hi, found.seeds, "; ".join(filter(None, (found.note, f"best rival {rival}"))))


def draw(axes: Any, frame: DataFrame, systems: Sequence[str], theme: Theme) -> None:
    """Attainment in % over the rate in % of the optimum: all runs of one seed, and the place of each crossing over seeds."""
    import pandas as pd

    attained = frame[(frame["metric"] == "attainment_dslo") & (frame["seed"] == frame["seed"].min())]
    crossings = frame[frame["part"] == CROSSING]
    for index, system in enumerate(systems):
        look = series_look(index, theme)
        rows = attained[attained["system"] == system].drop_duplicates("percent").sort_values("percent")
        axes.plot(rows["percent"], 100 * rows["value"], label=system, **look)
        found = knee(crossings, system) if len(crossings) else pd.Series(dtype=float)
        if (place := over_seeds(found)).value is not None:
            ends = [[place.value - known_or(place.lo, place.value)], [known_or(place.hi, place.value) - place.value]]
            height = 100 * LEVEL + _APART * ((len(systems) - 1) / 2 - index)
            axes.errorbar([place.value], [height], xerr=ends, color=look["color"], linewidth=2.2, zorder=4)
    level(axes, theme)


def level(axes: Any, theme: Theme) -> None:
    """The line at 90 %, and the axis of attainment."""
    axes.axhline(100 * LEVEL, color=theme.muted, linewidth=0.7, linestyle=(0, (4, 2)), zorder=0)
    axes.set_ylim(0, 103)


def known_or(value: float | None, other: float) -> float:
    """The end of an interval, or ``other`` where one seed gives none."""
    return other if value is None else value
