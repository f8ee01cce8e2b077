"""What hidden and known constraints are worth: trials that did not survive, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.paper import SINGLE_IN
from figures.reproduction import Band, Expectation, Measured, over_seeds
from figures.runner import Runner
from figures.scoot import outcomes
from figures.scoot.curves import PAPER
from figures.scoot.drawing import TITLES
from figures.scoot.studies import SAMPLERS, SUFFIX, THROUGHPUT, UNRULED_BASELINES, WITHOUT_RULES
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_UNRULED = (WITHOUT_RULES, *UNRULED_BASELINES)
ALL, LATE = "all", "late"
_LATER = "row written after the results had been seen: what SCOOT's model is worth, without the design that it shares with others"
_HARD = ("cls", "rec")
"""The services on which engines die: those on GPUs with little memory."""


class Invalid:
    """Trials that did not survive, per service and sampler, each given the known rules and not given them."""

    name = "scoot-invalid"
    title = "Trials that did not survive, of thirty, and what known and hidden constraints are worth"
    source = Source(PAPER, "Fig. 9")
    size = (SINGLE_IN, 5.4)
    caption = (
        "Trials of each study whose engine ran out of memory or refused to start; a dot per seed, bars are means. Upper bar: the "
        "sampler's suggestions are repaired to keep vLLM's known rules; lower bar: they are tried as they are, and only for the "
        "first ten seeds. vanilla-bo is SCOOT without hidden constraints (the random forest). Of SQL's and BOT's engines hardly "
        "any dies for want of memory."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        others = tuple(name for name in SAMPLERS if name != "scoot")
        fewer = [
            Expectation(
                f"trials that did not survive, SCOOT less {name}, {service.upper()}",
                "< 0: fewer invalid observations" if name == "vanilla-bo" else "< 0",
                PAPER,
                lambda frame, name=name, service=service: self._fewer(frame, service, "scoot", name),
                Band(high=0),
            )
            for service in _HARD
            for name in others
        ]
        unruled = [
            Expectation(
                f"trials that did not survive, SCOOT less {name.removesuffix(SUFFIX)} without known rules, all services",
                "< 0: without known-constraint pruning there are more" if name == WITHOUT_RULES else "< 0",
                PAPER,
                lambda frame, name=name: self._fewer(frame, None, "scoot", name),
                Band(high=0),
            )
            for name in _UNRULED
        ]
        counts = [
            Expectation(
                f"services of four on which SCOOT's median is below every baseline's, baselines {given}",
                "4: fewer invalid observations",
                PAPER,
                lambda frame, samplers=samplers: self._fewest(frame, samplers),
                Band(low=3),
                why,
            )
            for given, samplers, why in (
                ("given the rules", ("scoot", *others), "our own reading: rules are data, and the study repairs for all"),
                ("not given them", ("scoot", *UNRULED_BASELINES), "row written after the first comparison had been seen"),
            )
        ]
        late = [
            Expectation(
                f"% of trials after the tenth success that did not survive, SCOOT less {name}, {service.upper()}",
                "< 0",
                PAPER,
                lambda frame, name=name, service=service: self._fewer(frame, service, "scoot", name, LATE),
                Band(high=0),
                f"baselines given the rules; {_LATER}",
            )
            for service in _HARD
            for name in others
        ]
        return (*fewer, *unruled, *counts, *late)

    def data(self, runner: Runner) -> DataFrame:
        """Rows ``all`` (trials that did not survive) and ``late`` (the share after the tenth success, in %) per study."""
        import pandas as pd

        rows = outcomes.rows(runner, THROUGHPUT, (*SAMPLERS, *_UNRULED))
        found = ((ALL, outcomes.crashes(rows)), (LATE, outcomes.late_crashes(rows)))
        return pd.concat([table.assign(metric=metric) for metric, table in found], ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        frame = frame[frame["metric"] == ALL]
        services = [service for service in outcomes.SERVICES if service in set(frame["service"])]
        grid = canvas.add_gridspec(len(services), 1, left=0.2, right=0.97, top=0.95, bottom=0.12, hspace=0.35)
        for i, service in enumerate(services):
            axes = canvas.add_subplot(grid[i])
            axes.set_title(TITLES[service], loc="left", fontweight="bold", pad=3)
            for row, name in enumerate(reversed(SAMPLERS)):
                for given, sampler in enumerate((f"{name}{SUFFIX}", name)):
                    values = frame[(frame["service"] == service) & (frame["sampler"] == sampler)]["value"].to_numpy()
                    if not len(values):
                        continue
                    colour = theme.series[0] if given else theme.muted
                    at = row + 0.4 * given - 0.2
                    label = "given the known rules" if given else "not given them"
                    axes.barh(at, values.mean(), height=0.36, color=colour, alpha=0.35, linewidth=0, label=label)
                    axes.plot(values, at + np.linspace(-0.11, 0.11, len(values)), ".", markersize=2.2, color=colour)
            axes.set_yticks(range(len(SAMPLERS)), list(reversed(SAMPLERS)), fontsize=7)
            axes.tick_params(axis="y", length=0, pad=2)
            axes.grid(axis="y", visible=False)
            axes.set_xlim(0, max(1.0, float(frame["value"].max()) + 0.5))
            if i == len(services) - 1:
                axes.set_xlabel("trials that did not survive")
                known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
                canvas.legend(reversed(known.values()), reversed(known), loc="lower center", ncol=2, fontsize=7)
            else:
                axes.tick_params(labelbottom=False)

    @staticmethod
    def _fewer(frame: DataFrame, service: str | None, ours: str, theirs: str, metric: str = ALL) -> Measured:
        kept = frame[(frame["metric"] == metric) & frame["sampler"].isin([ours, theirs])]
        kept = kept if service is None else kept[kept["service"] == service]
        table = kept.pivot_table(index="seed", columns="sampler", values="value", aggfunc="mean").dropna()
        if ours not in table or theirs not in table:
            return Measured(None)
        return over_seeds(table[ours] - table[theirs])

    @staticmethod
    def _fewest(frame: DataFrame, samplers: Sequence[str]) -> Measured:
        kept = frame[(frame["metric"] == ALL) & frame["sampler"].isin(samplers)]
        tables = [outcomes.by_sampler(kept, service) for service in outcomes.SERVICES if service in set(kept["service"])]
        return outcomes.resampled(tables, outcomes.fewest)
