"""Attainment against rate, in % of the optimal rate, for both serving styles: the paper's main figure, a workload at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from figures.frame import Source
from figures.paper import DOUBLE_IN
from figures.polyserve import PAPER, SECONDARY
from figures.polyserve.curves import draw, knee, knee_ratio, swept
from figures.polyserve.setting import CO, MORE, OURS, PD, SYSTEMS, WORKLOADS
from figures.reproduction import Band, Expectation, over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

PERCENT = (20, 60, 80, 90, 100, 120)
SEEDS = (1, 2)
GAIN = {CO: 1.18, PD: 1.23}
"""Rate at 90 % over the best baseline, as the abstract has it."""
STYLES = {CO: "co-located", PD: "prefill and decode apart"}


_CAPTION = (
    "Share of offered requests every token of which came in time (DSLO), over the offered rate in % of an analytic optimum "
    "(policies/polyserve/optimal.py; the paper's is not recovered). Mean over two seeds, bars are its 95 % interval. Lengths "
    "are drawn from committed statistics of the trace, whose mean output the policies are told at first. CO-Random and CO-Minimal "
    "have PolyServe's dynamic chunking, CO-Chunk steps of 512 tokens."
)
_MORE = "LMetric, Llumnix-like (both with dynamic chunking) and QoServe are not in the paper."


class Rates:
    """One workload: PolyServe and the baselines."""

    workload: ClassVar[str]
    size = (DOUBLE_IN, 2.7)
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
        return f"{_CAPTION}{beside}"

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
                    lambda frame, style=style: knee_ratio(frame[frame["style"] == style], SYSTEMS[style]),
                    Band(low=gain),
                    SECONDARY,
                )
            )
            rows.append(
                Expectation(
                    f"rate@90 of PolyServe in % of optimal, {STYLES[style]}",
                    "up to 92.5",
                    f"{PAPER}, abstract",
                    lambda frame, style=style: over_seeds(knee(frame[frame["style"] == style], OURS)),
                    Band(low=90),
                    f"{SECONDARY}; to agree means 90 % or more",
                )
            )
        return rows

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        percent = (60, 90, 100, 110) if runner.quick else PERCENT
        seeds = SEEDS[:1] if runner.quick else SEEDS
        workload = WORKLOADS[self.workload]
        frames = [swept(runner, workload, style, self.systems(style), percent, seeds).assign(style=style) for style in (CO, PD)]
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
    more = MORE


class AzureCode(Rates):
    workload = "azure-code"


class MooncakeConversations(Rates):
    workload = "mooncake-conv"


class ServeGen(Rates):
    workload = "servegen"


class UniformShort(Rates):
    workload = "uniform-512-512"


class UniformLong(Rates):
    workload = "uniform-4096-1024"
