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
from figures.scoot.studies import COMPARED, THROUGHPUT, WITHOUT_RULES
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_SHOWN = (*(name for name in COMPARED if name != "auto-tune"), WITHOUT_RULES)
_HARD = ("cls", "rec")
"""The services on which engines die: those on GPUs with little memory."""


class Invalid:
    """Trials that did not survive, per service and sampler, with SCOOT's two ablations among them."""

    name = "scoot-invalid"
    title = "Trials that did not survive, of thirty, and what known and hidden constraints are worth"
    source = Source(PAPER, "Fig. 9")
    size = (SINGLE_IN, 4.4)
    caption = (
        "Trials of each study whose engine ran out of memory or refused to start; a dot per seed, bars are means. "
        "vanilla-bo is SCOOT without hidden constraints (the random forest), scoot-without-rules is SCOOT without "
        "known ones. No engine of SQL and BOT dies for want of memory."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        others = tuple(name for name in COMPARED if name not in ("scoot", "auto-tune"))
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
        rules = Expectation(
            "trials that did not survive, SCOOT less SCOOT without known rules, all services",
            "< 0",
            PAPER,
            lambda frame: self._fewer(frame, None, "scoot", WITHOUT_RULES),
            Band(high=0),
        )
        return (*fewer, rules)

    def data(self, runner: Runner) -> DataFrame:
        return outcomes.crashes(outcomes.rows(runner, THROUGHPUT, _SHOWN))

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        services = [service for service in outcomes.SERVICES if service in set(frame["service"])]
        grid = canvas.add_gridspec(len(services), 1, left=0.33, right=0.97, top=0.95, bottom=0.09, hspace=0.35)
        for i, service in enumerate(services):
            axes = canvas.add_subplot(grid[i])
            axes.set_title(TITLES[service], loc="left", fontweight="bold", pad=3)
            for row, name in enumerate(reversed(_SHOWN)):
                values = frame[(frame["service"] == service) & (frame["sampler"] == name)]["value"].to_numpy()
                if not len(values):
                    continue
                colour = theme.series[0] if name == "scoot" else theme.muted
                axes.barh(row, values.mean(), height=0.62, color=colour, alpha=0.35, linewidth=0)
                axes.plot(values, row + np.linspace(-0.2, 0.2, len(values)), ".", markersize=2.5, color=colour)
            axes.set_yticks(range(len(_SHOWN)), list(reversed(_SHOWN)), fontsize=7)
            axes.tick_params(axis="y", length=0, pad=2)
            axes.grid(axis="y", visible=False)
            axes.set_xlim(0, max(1.0, float(frame["value"].max()) + 0.5))
            if i == len(services) - 1:
                axes.set_xlabel("trials that did not survive")
            else:
                axes.tick_params(labelbottom=False)

    @staticmethod
    def _fewer(frame: DataFrame, service: str | None, ours: str, theirs: str) -> Measured:
        kept = frame if service is None else frame[frame["service"] == service]
        kept = kept[kept["sampler"].isin([ours, theirs])]
        table = kept.pivot_table(index="seed", columns="sampler", values="value", aggfunc="mean").dropna()
        if ours not in table or theirs not in table:
            return Measured(None)
        return over_seeds(table[ours] - table[theirs])
