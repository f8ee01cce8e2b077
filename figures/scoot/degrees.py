"""What it costs to ask for several configurations at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.paper import SINGLE_IN
from figures.reproduction import Expectation, Measured
from figures.runner import Runner
from figures.scoot import outcomes
from figures.scoot.curves import PAPER
from figures.scoot.studies import PARALLEL_SERVICE, SEEDS, THROUGHPUT
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_DEGREES = tuple(range(1, 6))


class Parallel:
    """Final throughput, and batches needed, against the parallel degree."""

    name = "scoot-parallel"
    title = "Parallel degree 1 to 5: quality of the best configuration, and rounds of trials"
    source = Source(PAPER, "Fig. 8")
    size = (SINGLE_IN, 2.3)
    caption = (
        "SCOOT on the chatbot service, thirty trials, so many of them side by side. Top: best throughput over the "
        "default's; a dot per seed, the line joins medians. Bottom: rounds of trials, which is what a study takes where every "
        "trial lasts the same."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return tuple(
            Expectation(
                f"median gain in points, degree {degree} less degree 1",
                "about 0" if degree <= 4 else "< 0: quality degrades above 4",
                PAPER,
                lambda frame, degree=degree: self._less(frame, degree),
                why="the paper's values are not known to us",
            )
            for degree in _DEGREES[1:]
        )

    def data(self, runner: Runner) -> DataFrame:
        import math

        rows = outcomes.rows(runner, THROUGHPUT, ("scoot",), parallel=_DEGREES)
        rows = rows[(rows["service"] == PARALLEL_SERVICE) & rows["seed"].isin(SEEDS)]
        ours, base = (outcomes.finals(rows, kind).set_index(["parallel", "seed"])["value"] for kind in ("retest", "retest-default"))
        gain = (100 * (ours / base - 1)).rename("value").reset_index().assign(metric="gain")
        trials = outcomes.QUICK_TRIALS if runner.quick else outcomes.TRIALS
        rounds = gain.assign(metric="rounds", value=[1 + math.ceil((trials - 1) / degree) for degree in gain["parallel"]])
        import pandas as pd

        return pd.concat([gain, rounds], ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        grid = canvas.add_gridspec(2, 1, height_ratios=(2, 1), left=0.15, right=0.97, top=0.97, bottom=0.17, hspace=0.15)
        top = canvas.add_subplot(grid[0])
        bottom = canvas.add_subplot(grid[1], sharex=top)
        gain, rounds = (frame[frame["metric"] == metric] for metric in ("gain", "rounds"))
        top.plot(gain["parallel"], gain["value"], ".", color=theme.series[0], alpha=0.5, markersize=4)
        medians = gain.groupby("parallel")["value"].median()
        top.plot(medians.index, medians, color=theme.series[0])
        top.set_ylabel("gain over default (%)")
        top.set_ylim(0, None)
        top.tick_params(labelbottom=False)
        needed = rounds.groupby("parallel")["value"].first()
        bottom.bar(needed.index, needed, width=0.5, color=theme.muted, alpha=0.5)
        for degree, count in needed.items():
            bottom.annotate(f"{count:.0f}", (degree, count), xytext=(0, 1), textcoords="offset points", ha="center", size=6.5)
        bottom.set_ylim(0, 1.3 * needed.max())
        bottom.set_ylabel("rounds")
        bottom.set_xlabel("parallel degree")
        bottom.set_xticks(list(needed.index))

    @staticmethod
    def _less(frame: DataFrame, degree: int) -> Measured:
        gain = frame[frame["metric"] == "gain"]
        table = gain.pivot(index="seed", columns="parallel", values="value").rename(columns=str).dropna()
        return outcomes.resampled([table], lambda medians: medians[0][str(degree)] - medians[0]["1"])
