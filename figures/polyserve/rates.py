"""Attainment against rate, in % of the optimal rate, for both serving styles: the paper's main figure, a workload at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from figures.frame import Source
from figures.paper import DOUBLE_IN
from figures.polyserve import PAPER, SECONDARY
from figures.polyserve.crossings import STEP, Search, crossings, starts
from figures.polyserve.curves import CROSSING, CURVE, Fleet, draw, knee, knee_ratio, swept
from figures.polyserve.setting import CO, MORE, OURS, PD, SYSTEMS, WORKLOADS
from figures.reproduction import Band, Expectation, Measured, over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

PERCENT = (20, 60, 80, 100, 120)
GAIN = {CO: 1.18, PD: 1.23}
"""Rate at 90 % over the best baseline, as the abstract has it."""
STYLES = {CO: "co-located", PD: "prefill and decode apart"}


_CAPTION = (
    "Share of offered requests every token of which came in time (DSLO), over the offered rate in % of an analytic optimum "
    "(policies/polyserve/optimal.py; the paper's is not recovered). The curves are runs of one seed. PolyServe, and the paper's "
    "baselines that come near the best of them, have runs of {seeds} seeds about the place where they fall below 90 %, "
    "{step} points of rate apart and as many as enclose it, with a straight line between: thick bars are the mean and its 95 % "
    "interval. All systems share the seeds, and ratios are paired by them. Lengths are drawn from committed statistics of the "
    "trace, whose mean output the policies are told at first. CO-Random and CO-Minimal have PolyServe's dynamic chunking, CO-Chunk "
    "steps of 512 tokens."
)
_MORE = "LMetric, Llumnix-like (both with dynamic chunking) and QoServe are not in the paper."


def _gain(frame: DataFrame, style: str) -> Measured:
    return knee_ratio(_decisive(frame, style), SYSTEMS[style])


def _share(frame: DataFrame, style: str) -> Measured:
    return over_seeds(knee(_decisive(frame, style), OURS))


def _decisive(frame: DataFrame, style: str) -> DataFrame:
    """The runs about the crossings, or where there are none (in the quick setting) those of the curve."""
    rows = frame[frame["style"] == style]
    return rows[rows["part"] == (CROSSING if CROSSING in set(rows["part"]) else CURVE)]


class Rates:
    """One workload: PolyServe and the baselines."""

    workload: ClassVar[str]
    size = (DOUBLE_IN, 2.7)
    seeds: ClassVar[Sequence[int]] = (1, 2, 3, 4)
    """As many as the time for a figure allows."""
    more: ClassVar[Mapping[str, str]] = {}
    """Co-located systems that are not in the paper."""

    @property
    def name(self) -> str:
        return f"polyserve-{self.workload}"

    @property
    def title(self) -> str:
        return f"PolyServe's attainment against rate, {WORKLOADS[self.workload].title}"

    @property
    def caption(self) -> str:
        beside = f" {_MORE}" if self.more else ""
        return f"{_CAPTION.format(seeds=len(self.seeds), step=STEP)}{beside}"

    @property
    def source(self) -> Source:
        return Source(PAPER, "Figure 6 (number uncertain)")

    @property
    def expected(self) -> Sequence[Expectation]:
        rows = []
        for style, gain in GAIN.items():
            rows.append(
                Expectation(
                    f"rate@90 of PolyServe over the best paper baseline, {STYLES[style]}",
                    f"≥ {gain:g}",
                    f"{PAPER}, abstract",
                    partial(_gain, style=style),
                    Band(low=gain),
                    SECONDARY,
                )
            )
            rows.append(
                Expectation(
                    f"rate@90 of PolyServe in % of optimal, {STYLES[style]}",
                    "up to 92.5",
                    f"{PAPER}, abstract",
                    partial(_share, style=style),
                    Band(low=90),
                    f"{SECONDARY}; to agree means 90 % or more",
                )
            )
        return rows

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        percent = (60, 90, 100, 110) if runner.quick else PERCENT
        workload = WORKLOADS[self.workload]
        frames, searches = [], []
        for style in (CO, PD):
            fleet = Fleet(workload, style)
            curve = swept(runner, fleet, self.systems(style), percent, self.seeds[:1])
            frames.append(curve.assign(style=style, part=CURVE))
            begin = {} if runner.quick else starts(curve, SYSTEMS[style])
            searches += [Search(fleet, system, SYSTEMS[style][system], place) for system, place in begin.items()]
        for search, found in zip(searches, crossings(runner, searches, self.seeds), strict=True):
            frames.append(found.assign(style=search.fleet.style, part=CROSSING))
        return pd.concat(frames, ignore_index=True)

    def systems(self, style: str) -> dict[str, str]:
        """Those of the paper, and beside the co-located ones ``more``."""
        return {**SYSTEMS[style], **(self.more if style == CO else {})}

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        panels = canvas.subplots(1, 2, sharey=True)
        canvas.subplots_adjust(left=0.075, right=0.985, top=0.9, bottom=0.36, wspace=0.06)
        for axes, style in zip(panels, (CO, PD), strict=True):
            systems = list(self.systems(style))
            draw(axes, frame[frame["style"] == style], systems, theme)
            axes.set_title(STYLES[style])
            axes.set_xlabel("offered rate (% of optimal)")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, fontsize=7, handlelength=1.6, columnspacing=0.9)
        panels[0].set_ylabel("requests in time (%)")


class AzureConversations(Rates):
    workload = "azure-conv"
    seeds = (1, 2, 3, 4, 5)
    more = MORE


class AzureCode(Rates):
    workload = "azure-code"
    seeds = (1, 2, 3, 4, 5, 6)


class MooncakeConversations(Rates):
    workload = "mooncake-conv"


class ServeGen(Rates):
    workload = "servegen"
    seeds = (1, 2, 3)


class UniformShort(Rates):
    workload = "uniform-512-512"


class UniformLong(Rates):
    workload = "uniform-4096-1024"
