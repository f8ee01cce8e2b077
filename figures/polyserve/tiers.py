"""Attainment of each tier: who pays when the fleet is too small."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.paper import DOUBLE_IN, error_bars, series_look
from figures.polyserve import PAPER
from figures.polyserve.curves import Fleet, level, swept
from figures.polyserve.rates import PERCENT
from figures.polyserve.setting import CO, SYSTEMS, TPOT, WORKLOADS, tier_metrics
from figures.reproduction import Band, Expectation, Measured, curve_over_seeds, over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_SEEDS = (1, 2, 3, 4, 5)
_FULL = 100
"""Percent of the optimum at which tiers are compared."""


class Tiers:
    """Azure's conversations, co-located: a panel per TPOT tier."""

    name = "polyserve-tiers"
    title = "Attainment of PolyServe's tiers against rate"
    source = Source(PAPER, "Figure 7 (number uncertain)")
    size = (DOUBLE_IN, 2.2)
    caption = (
        "Azure's conversations, prefill and decode together; share of each TPOT tier's requests whose every token came in time, "
        "over the offered rate in % of the analytic optimum. One seed, the runs of polyserve-azure-conv; at 100 % the mean of "
        f"{len(_SEEDS)} seeds, bars are its 95 % interval."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                f"attainment of the 20 ms tier less that of the 100 ms tier at {_FULL} % of optimal, CO-Chunk",
                "< 0: the baselines lose the tightest tier first",
                PAPER,
                partial(_gap, system="CO-Chunk"),
                Band(high=0),
            ),
            Expectation(
                f"the same under CO-Minimal, {_FULL} %",
                "< 0: the baselines lose the tightest tier first",
                PAPER,
                partial(_gap, system="CO-Minimal"),
                Band(high=0),
            ),
            Expectation(
                f"the same under PolyServe, {_FULL} %",
                "about 0: PolyServe keeps tiers balanced",
                PAPER,
                partial(_gap, system="PolyServe"),
                Band(-0.05, 0.05),
                "balanced means within 5 points",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        percent = (60, 90, 100, 110) if runner.quick else PERCENT
        metrics = [metric for tier in TPOT for metric in tier_metrics(tier)]
        fleet = Fleet(WORKLOADS["azure-conv"], CO)
        frames = [swept(runner, fleet, SYSTEMS[CO], percent, _SEEDS[:1], metrics)]
        if not runner.quick:
            frames.append(swept(runner, fleet, SYSTEMS[CO], (_FULL,), _SEEDS[1:], metrics))
        return _by_tier(pd.concat(frames, ignore_index=True))

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        panels = canvas.subplots(1, len(TPOT), sharey=True)
        canvas.subplots_adjust(left=0.075, right=0.985, top=0.89, bottom=0.32, wspace=0.08)
        for axes, tier in zip(panels, TPOT, strict=True):
            for index, system in enumerate(SYSTEMS[CO]):
                curve = curve_over_seeds(frame[(frame["system"] == system) & (frame["metric"] == tier)], "percent")
                bars = 100 * error_bars(curve, 0.0, 1.0)
                axes.errorbar(curve.index, 100 * curve["mean"], bars, elinewidth=0.7, label=system, **series_look(index, theme))
            level(axes, theme)
            axes.set_title(f"TPOT {tier.removesuffix('ms')} ms")
        panels[0].set_ylabel("requests in time (%)")
        canvas.supxlabel("offered rate (% of optimal)", y=0.135, fontsize=7.5)
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=len(SYSTEMS[CO]), fontsize=7)


def _gap(frame: DataFrame, system: str) -> Measured:
    """The tightest tier's attainment less the loosest one's."""
    rows = frame[(frame["system"] == system) & ((frame["percent"] - _FULL).abs() < 1)].set_index("seed")
    tight, loose = (rows[rows["metric"] == tier]["value"] for tier in ("20ms", "100ms"))
    return over_seeds(tight - loose)


def _by_tier(frame: DataFrame) -> DataFrame:
    """Requests of one TPOT and several TTFT objectives together; without intervals within a run."""
    import pandas as pd

    tier = frame["metric"].str.extract(r"@(\d+ms)-", expand=False)
    met = (frame["value"].astype(float) * frame["n"]).fillna(0.0)
    keys = ["system", "percent", "rate_per_s", "seed", "metric"]
    summed = frame.assign(metric=tier, met=met).groupby(keys, sort=False, as_index=False)[["met", "n"]].sum()
    summed["value"] = summed["met"] / summed["n"]
    return pd.DataFrame(summed.assign(lo=float("nan"), hi=float("nan")))[[*keys, "value", "lo", "hi", "n"]]
