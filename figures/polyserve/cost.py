"""What a request costs: instance-seconds at a load that every system serves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.paper import DOUBLE_IN
from figures.polyserve import PAPER
from figures.polyserve.curves import Fleet, swept
from figures.polyserve.setting import CO, SYSTEMS, WORKLOADS
from figures.reproduction import Band, Expectation, Measured, curve_over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_METRICS = ("gpu_s", "throughput_req_s", "attainment_dslo")
_PERCENT = 60
_SEEDS = (1, 2, 3)


class Cost:
    """Instance-seconds per request of every workload, co-located."""

    name = "polyserve-cost"
    title = "Cost of a request under PolyServe and the baselines"
    source = Source(PAPER, "Figure 8 (number uncertain)")
    size = (DOUBLE_IN, 2.4)
    caption = (
        f"Instance-seconds held per request completed at {_PERCENT} % of the optimal rate, prefill and decode together, relative "
        "to a fleet of 20 that is always up. PolyServe parks engines that are empty, at once; the baselines have no scaler, as "
        "in the paper. Mean over seeds, bars are its 95 % interval."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return tuple(
            Expectation(
                f"cost per request, PolyServe over CO-Minimal, {workload.title}",
                "< 1: PolyServe lowest, as it packs and returns servers",
                PAPER,
                partial(_ratio, workload=key),
                Band(high=1),
            )
            for key, workload in WORKLOADS.items()
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        seeds = _SEEDS[:1] if runner.quick else _SEEDS
        frames = []
        for key, workload in list(WORKLOADS.items())[: 2 if runner.quick else None]:
            frame = swept(
                runner, Fleet(workload, CO), SYSTEMS[CO], (_PERCENT,), seeds, ("gpu_s", "throughput_req_s", "attainment_dslo")
            )
            frames.append(frame.assign(workload=key))
        return pd.concat(frames, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        axes = canvas.add_axes((0.085, 0.27, 0.9, 0.68))
        keys = list(frame["workload"].unique())
        width = 0.8 / len(SYSTEMS[CO])
        for index, system in enumerate(SYSTEMS[CO]):
            costs = [_costs(frame, key, system) for key in keys]
            whole = [_costs(frame, key, "CO-Minimal") for key in keys]
            shares = [curve_over_seeds(_tidy(c / w), "at").iloc[0] for c, w in zip(costs, whole, strict=True)]
            at = np.arange(len(keys)) + (index - (len(SYSTEMS[CO]) - 1) / 2) * width
            bars = [[s["mean"] - s["lo"] for s in shares], [s["hi"] - s["mean"] for s in shares]]
            colour = theme.series[index % len(theme.series)]
            axes.bar(
                at, [s["mean"] for s in shares], 0.9 * width, yerr=bars, color=colour, label=system, error_kw={"linewidth": 0.7}
            )
        axes.set_xticks(range(len(keys)), [WORKLOADS[key].title.replace(" ", "\n", 1) for key in keys])
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("cost per request (CO-Minimal = 1)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=len(SYSTEMS[CO]), fontsize=7)


def _costs(frame: DataFrame, workload: str, system: str) -> Any:
    """Instance-seconds per second and request per second, by seed."""
    rows = frame[(frame["workload"] == workload) & (frame["system"] == system)].set_index("seed")
    return rows[rows["metric"] == "gpu_s"]["value"] / rows[rows["metric"] == "throughput_req_s"]["value"]


def _tidy(values: Any) -> DataFrame:
    return values.rename("value").reset_index().assign(at=0)  # type: ignore[no-any-return]


def _ratio(frame: DataFrame, workload: str) -> Measured:
    if workload not in set(frame["workload"]):
        return Measured(None, note="not run in the quick setting")
    return ratio_over_seeds(_costs(frame, workload, "PolyServe"), _costs(frame, workload, "CO-Minimal"))
