"""PolyServe where it may lose: four engines for four tiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from figures.frame import Source
from figures.paper import SINGLE_IN
from figures.polyserve.crossings import STEP, Search, crossings
from figures.polyserve.curves import CROSSING, CURVE, Fleet, draw, knee, swept
from figures.polyserve.setting import CO, MORE, SYSTEMS, WORKLOADS
from figures.reproduction import Band, Expectation, Measured, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_ENGINES = 4
_PERCENT = (20, 60, 80, 100, 120)
_SEEDS = (1, 2, 3, 4, 5, 6)
PORT = "an independent port of PolyServe, 4 × (TP2 B200, Llama-3.1-70B)"


class Small:
    """Attainment over rate on four engines."""

    name = "polyserve-small-fleet"
    title = "PolyServe on four engines"
    source = Source(PORT)
    size = (SINGLE_IN, 2.7)
    caption = (
        "Azure's conversations on 4 engines, prefill and decode together: four tiers leave an engine for each. The fixed fleet "
        "deals all engines out by demand. Share of requests every token of which came in time, over the offered rate in % of "
        f"the analytic optimum. The curves are runs of one seed; the places where they fall below 90 % are of {len(_SEEDS)} seeds, "
        f"with runs {STEP} points of rate apart: thick bars are the mean and its 95 % interval."
    )
    systems: ClassVar[Mapping[str, str]] = {
        "PolyServe": SYSTEMS[CO]["PolyServe"],
        "PolyServe, fixed fleet": "polyserve-fixed",
        "CO-Minimal": SYSTEMS[CO]["CO-Minimal"],
        "QoServe": MORE["QoServe"],
    }

    @property
    def expected(self) -> Sequence[Expectation]:
        return tuple(
            Expectation(
                f"rate@90 on four engines, {system} over CO-Minimal",
                "< 1: partitioning lost to routing without partitions, 27.5 against 90.2 % attainment at one rate",
                PORT,
                partial(_over_minimal, system=system),
                Band(high=1),
                "another model and GPU, and a stale profile of lengths there: only the direction is compared",
            )
            for system in ("PolyServe", "PolyServe, fixed fleet")
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        fleet = Fleet(WORKLOADS["azure-conv"], CO, _ENGINES)
        curve = swept(runner, fleet, self.systems, _PERCENT, _SEEDS[:1]).assign(part=CURVE)
        searches = [Search(fleet, system, stack, 95.0) for system, stack in self.systems.items()]
        found = pd.concat(crossings(runner, searches, _SEEDS[:1] if runner.quick else _SEEDS)).assign(part=CROSSING)
        return pd.concat([curve, found], ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        axes = canvas.add_axes((0.14, 0.32, 0.83, 0.65))
        draw(axes, frame, list(self.systems), theme)
        axes.set_xlabel("offered rate (% of optimal)")
        axes.set_ylabel("requests in time (%)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=7, columnspacing=0.9)


def _over_minimal(frame: DataFrame, system: str) -> Measured:
    found = frame[frame["part"] == CROSSING]
    return ratio_over_seeds(knee(found, system), knee(found, "CO-Minimal"))
