"""Goodput per instance as the fleet grows: tiers fragment a small fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.paper import SINGLE_IN, error_bars, plain_log_ticks, series_look
from figures.polyserve import PAPER
from figures.polyserve.crossings import STEP, Search, crossings
from figures.polyserve.curves import Fleet, knee
from figures.polyserve.setting import CO, OURS, SYSTEMS, WORKLOADS
from figures.reproduction import Band, Expectation, Measured, curve_over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_SYSTEMS = ("PolyServe", "CO-Minimal")
_SIZES = {8: 95.0, 16: 95.0, 64: 105.0}
"""Instances, and where to look first, in percent of the optimum: on that hangs how many runs it takes, and nothing else."""
_SEEDS = (1, 2, 3)


class Scale:
    """Rate at 90 % attainment per instance, 8 to 64 instances."""

    name = "polyserve-scale"
    title = "PolyServe's goodput per instance against the size of the fleet"
    source = Source(PAPER, "Figure 9 (number uncertain)")
    size = (SINGLE_IN, 2.4)
    caption = (
        "Azure's code completions, prefill and decode together: the rate at which 90 % of requests are in time, in % of the "
        f"analytic optimum, which is linear in the instances. Of each seed, runs {STEP} points of rate apart enclose it, with a "
        "straight line between. Mean over seeds, bars are its 95 % interval."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "goodput per instance, 64 instances over 8",
                "> 1: rises with scale, less fragmentation per tier",
                PAPER,
                _growth,
                Band(low=1),
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        systems = {name: SYSTEMS[CO][name] for name in _SYSTEMS}
        seeds = _SEEDS[:1] if runner.quick else _SEEDS
        sizes = list(_SIZES)[:2] if runner.quick else list(_SIZES)
        fleets = [Fleet(WORKLOADS["azure-code"], CO, size) for size in reversed(sizes)]  # the longest runs first: no core waits
        searches = [Search(fleet, system, stack, _SIZES[fleet.engines]) for fleet in fleets for system, stack in systems.items()]
        found = zip(searches, crossings(runner, searches, seeds), strict=True)
        return pd.concat([frame.assign(instances=search.fleet.engines) for search, frame in found], ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        import pandas as pd

        axes = canvas.add_axes((0.14, 0.16, 0.83, 0.7))
        for index, system in enumerate(_SYSTEMS):
            rows = pd.concat(
                _knee(frame, system, size).rename("value").reset_index().assign(instances=size)
                for size in frame["instances"].unique()
            )
            curve = curve_over_seeds(rows, "instances")
            axes.errorbar(
                curve.index, curve["mean"], error_bars(curve, 0.0, 200.0), elinewidth=0.7, label=system, **series_look(index, theme)
            )
        axes.set_xscale("log")
        plain_log_ticks(axes.xaxis)
        axes.set_xticks(sorted(frame["instances"].unique()), [str(n) for n in sorted(frame["instances"].unique())])
        axes.set_xlabel("instances")
        axes.set_ylabel("rate@90 (% of optimal)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=3, fontsize=7, columnspacing=0.9)


def _growth(frame: DataFrame) -> Measured:
    return ratio_over_seeds(_knee(frame, OURS, int(frame["instances"].max())), _knee(frame, OURS, min(_SIZES)))


def _knee(frame: DataFrame, system: str, instances: int) -> Any:
    return knee(frame[frame["instances"] == instances], system)
