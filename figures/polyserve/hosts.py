"""Which tighter tier takes guests: what the paper leaves open, and what it makes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.paper import SINGLE_IN
from figures.polyserve import PAPER
from figures.polyserve.crossings import STEP, Search, crossings
from figures.polyserve.curves import Fleet, known_or
from figures.polyserve.curves import knee as place
from figures.polyserve.rates import STYLES
from figures.polyserve.setting import CO, GUESTS, OURS, PD, SYSTEMS, WORKLOADS
from figures.reproduction import Expectation, Measured, over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_SEEDS = (1, 2, 3)
_START = 100.0
_CASES = (("azure-conv", CO), ("azure-code", CO), ("uniform-512-512", PD), ("uniform-4096-1024", PD))
_ORDERS = {OURS: "tightest first", GUESTS: "loosest first"}


class Hosts:
    """Rate at 90 % with guests in the tightest tier that takes them, or in the loosest."""

    name = "polyserve-hosts"
    title = "Which tighter tier PolyServe's guests go to"
    source = Source(PAPER, "§4.3")
    size = (SINGLE_IN, 2.4)
    caption = (
        "The rate at which 90 % of requests are in time, in % of the analytic optimum, where a request whose own tier is full goes "
        "to the tightest of the tighter tiers that takes it (the default, as in PolyServe's port to vLLM), or to the loosest. The "
        f"paper's order is not recovered. Of each seed, runs {STEP} points of rate apart enclose the place, with a straight line "
        f"between; mean of {len(_SEEDS)} seeds, bars are its 95 % interval."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return tuple(
            Expectation(
                f"rate@90, loosest over tightest host first, {_title(key, style)}",
                "not told",
                PAPER,
                partial(_ratio, workload=key, style=style),
                why="the paper says when a request is promoted, not to which of several tighter tiers",
            )
            for key, style in _CASES
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        systems = {
            OURS: SYSTEMS[CO][OURS],
            GUESTS: "{router: {polyserve: {hosts: loosest}}, scaler: polyserve, batcher: polyserve}",
        }
        seeds = _SEEDS[:1] if runner.quick else _SEEDS
        cases = [(case, system) for case in _CASES for system in systems]
        searches = [Search(Fleet(WORKLOADS[key], style), system, systems[system], _START) for (key, style), system in cases]
        found = zip(cases, crossings(runner, searches, seeds), strict=True)
        return pd.concat([frame.assign(workload=key, style=style) for ((key, style), _), frame in found], ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        axes = canvas.add_axes((0.42, 0.17, 0.55, 0.68))
        for index, (system, order) in enumerate(_ORDERS.items()):
            for row, (key, style) in enumerate(_CASES):
                found = over_seeds(place(_case(frame, key, style), system))
                if found.value is None:
                    continue
                ends = [[found.value - known_or(found.lo, found.value)], [known_or(found.hi, found.value) - found.value]]
                label = order if row == 0 else None
                at = row + 0.15 * (2 * index - 1)
                axes.errorbar(
                    [found.value], [at], xerr=ends, marker="os"[index], color=theme.series[index], linestyle="none", label=label
                )
        axes.set_yticks(range(len(_CASES)), [_title(key, style).replace(", ", "\n", 1) for key, style in _CASES])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("rate@90 (% of optimal)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=2, fontsize=7)


def _title(key: str, style: str) -> str:
    return f"{WORKLOADS[key].title}, {STYLES[style]}"


def _case(frame: DataFrame, workload: str, style: str) -> DataFrame:
    return frame[(frame["workload"] == workload) & (frame["style"] == style)]


def _ratio(frame: DataFrame, workload: str, style: str) -> Measured:
    rows = _case(frame, workload, style)
    return ratio_over_seeds(place(rows, GUESTS), place(rows, OURS))
