"""What the figures of both deployments share: their sweeps, their panels, and how ours is held against the paper's curves."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.adaserve import digitised
from figures.adaserve.settings import ADASERVE, ALL, DEPLOYMENTS, Deployment
from figures.paper import error_bars, series_look
from figures.reproduction import Measured, curve_over_seeds, over_seeds
from figures.runner import Runner, Sweep
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame, Series

TIED = 1.0
"""Percentage points within which the paper's systems count as equal."""


def swept(
    runner: Runner,
    deployment: Deployment,
    x: Mapping[float, str],
    systems: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    metrics: Sequence[str],
    sets: Sequence[str] = (),
    *,
    seats: int | None = None,
) -> DataFrame:
    """Columns ``model``, ``system``, ``x``, and those of a sweep. ``x`` → the workload there; system → its policy.

    AdaServe and its variants batch ``seats`` requests, or as many as the artifact says, the others 512.
    """
    import pandas as pd

    of_workload = {value: at for at, value in x.items()}
    frames = []
    for ours in (True, False):
        named = {json.dumps(policy): name for name, policy in systems.items() if ("adaserve" in json.dumps(policy)) == ours}
        if not named:
            continue
        batched = (f"engine.max_num_seqs={seats or deployment.setting.max_seqs}",) if ours else ()
        axes = {"workload": list(of_workload), "policy": list(named)}
        frame = runner.sweep(Sweep(deployment.scenario, axes, seeds, metrics, (*sets, *batched)))
        frames.append(frame.assign(x=frame["workload"].map(of_workload), system=frame["policy"].map(named)))
    frame = pd.concat(frames, ignore_index=True).drop(columns=["workload", "policy"])
    return frame.assign(model=deployment.key)


def look(system: str, theme: Theme) -> dict[str, Any]:
    """The same in every figure."""
    return look_of(ALL.index(system), theme)


def look_of(index: int, theme: Theme) -> dict[str, Any]:
    """A line's style and marker; where the theme's series run out, its other colours go on."""
    more = dict(zip(range(len(theme.series), len(ALL)), (theme.bad, theme.caution, theme.muted), strict=False))
    colour = more.get(index, theme.series[index % len(theme.series)])
    return series_look(index, theme) | {
        "color": colour,
        "markeredgecolor": colour,
        "markerfacecolor": theme.page if index % 2 else colour,
    }


def draw_curves(
    axes: Any, frame: DataFrame, metric: str, systems: Sequence[str], theme: Theme, *, times: float = 1.0, most: float = math.inf
) -> None:
    """One line per system over ``x``, mean over seeds with its interval, multiplied by ``times``."""
    for system in systems:
        rows = frame[(frame["metric"] == metric) & (frame["system"] == system)]
        curve = curve_over_seeds(rows, "x")
        bars = times * error_bars(curve, 0.0, most)
        axes.errorbar(curve.index, times * curve["mean"], bars, elinewidth=0.8, label=system, **look(system, theme))


def draw_paper(axes: Any, figure: str, deployment: Deployment, metric: str, systems: Sequence[str], theme: Theme) -> None:
    """The paper's curves under ours."""
    for system in systems:
        points = digitised.curve(figure, deployment.name, metric, system)
        style = {"color": look(system, theme)["color"], "linewidth": 0.9, "linestyle": (0, (1, 1.2)), "alpha": 0.75}
        axes.plot(list(points), list(points.values()), zorder=1.5, **style)


def legend(canvas: Any, axes: Any, columns: int) -> None:
    """One line of names above all panels."""
    handles, names = axes.get_legend_handles_labels()
    canvas.legend(handles, names, loc="upper center", ncols=columns, fontsize=7, handlelength=2.2, columnspacing=1.2)


# --- ours against the paper's -----------------------------------------------------------------------------------------


def at(frame: DataFrame, model: str, system: str, metric: str, x: float) -> Series[Any]:
    """One value per seed."""
    rows = frame[(frame["model"] == model) & (frame["system"] == system) & (frame["metric"] == metric)]
    return rows[(rows["x"] - x).abs() < 1e-9].set_index("seed")["value"]


def value_at(frame: DataFrame, model: str, system: str, metric: str, x: float, times: float = 1.0) -> Measured:
    """Mean over seeds."""
    return over_seeds(times * at(frame, model, system, metric, x))


def largest_ratio(frame: DataFrame, model: str, metric: str, rivals: Sequence[str], *, misses: bool = False) -> Measured:
    """Over all x, how many times AdaServe's value the best rival's is, or with ``misses`` the other way round for what is missing
    from 1, seed by seed.
    """
    ratios = []
    found = frame[(frame["model"] == model) & (frame["metric"] == metric)]
    for _, rows in found.groupby("seed"):
        table = rows.pivot_table(index="x", columns="system", values="value")
        best, own = table[list(rivals)].max(axis=1), table[ADASERVE]
        ratios.append(float(((1 - best) / (1 - own) if misses else own / best).replace(math.inf, math.nan).max(skipna=False)))
    measured = over_seeds(_series(ratios))
    unmet = measured.value is None
    return (
        Measured(None, seeds=len(ratios), note="AdaServe misses nothing at some x: the ratio has no bound") if unmet else measured
    )


def order_kept(frame: DataFrame, figure: str, deployment: Deployment, metric: str, systems: Sequence[str]) -> Measured:
    """Share of (x, pair of systems) whose order is the paper's; pairs that the paper has within a point are left out."""
    kept = []
    rows = frame[(frame["model"] == deployment.key) & (frame["metric"] == metric)]
    for _, one in rows.groupby("seed"):
        table = one.pivot_table(index="x", columns="system", values="value")
        hits = []
        for x in table.index:
            known = {s: digitised.between(digitised.curve(figure, deployment.name, "SLO", s), x) for s in systems}
            theirs = {s: y for s, y in known.items() if y is not None}
            for a, b in itertools.combinations(theirs, 2):
                if abs(gap := theirs[a] - theirs[b]) > TIED:
                    hits.append(gap * (table.loc[x, a] - table.loc[x, b]) > 0)
        kept.append(sum(hits) / len(hits) if hits else math.nan)
    return _known(kept)


def deviation(
    frame: DataFrame, figure: str, deployment: Deployment, metric: str, name: str, system: str = ADASERVE, times: float = 1.0
) -> Measured:
    """Mean absolute deviation from the paper's curve over our x. ``name``: of the metric in the paper's figure."""
    points = digitised.curve(figure, deployment.name, name, system)
    rows = frame[(frame["model"] == deployment.key) & (frame["metric"] == metric) & (frame["system"] == system)]
    found = []
    for _, one in rows.groupby("seed"):
        off = [
            abs(times * y - there)
            for x, y in zip(one["x"], one["value"], strict=True)
            if (there := digitised.between(points, x)) is not None
        ]
        found.append(sum(off) / len(off) if off else math.nan)
    return _known(found)


def each(rows: Callable[[Deployment], Sequence[Any]]) -> tuple[Any, ...]:
    """The rows of both deployments."""
    return tuple(row for deployment in DEPLOYMENTS for row in rows(deployment))


def _known(values: Sequence[float]) -> Measured:
    absent = any(map(math.isnan, values)) or not values
    return Measured(None, seeds=len(values), note=digitised.ABSENT) if absent else over_seeds(_series(values))


def _series(values: Sequence[float]) -> Series[Any]:
    import pandas as pd

    return pd.Series(values, dtype=float)
