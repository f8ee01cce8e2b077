"""Everybody at 16 bits: what is left of iServe's lead when it may not quantise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.iserve.attainment import MAVERIQ, UNTOLD
from figures.iserve.world import GPUS, LARGE, PER_MINUTE, USD_PER_GPU_HOUR, arrivals, placed_by, run
from figures.paper import DOUBLE_IN, series_look
from figures.reproduction import Band, Expectation, Measured, over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme
from policies.intent import Intent

if TYPE_CHECKING:
    from pandas import DataFrame, Series

RATE = 0.4
PUBLISHED_USD = {"iServe": 5.33, "AlpaServe": 22.14, "AlpaServe*": 20.08, "Accelerate": 44.51}
WHO = tuple(PUBLISHED_USD)
WITHIN = 1.25
"""A ratio agrees with the paper's if it is off by no more than this factor."""
METRICS = {"usd": "cost of operation ($)", "latency_s": "mean latency (s)", "gpu_s": "GPU-seconds of work per request"}


class HalfPrecision:
    """Cost, latency and GPU time of four systems, all at 16 bits."""

    name = "iserve-16-bits"
    title = "Four models on eight A6000, all systems at 16 bits"
    source = Source(MAVERIQ, "12")
    size = (DOUBLE_IN, 2.1)
    caption = (
        f"At {RATE:g} of the conversation trace's rate. Left: cost of operation, all eight GPUs until the last request is served, "
        f"at ${USD_PER_GPU_HOUR:g} per GPU-hour; crosses: the paper's. Middle: mean latency. Right: GPU-seconds of work per "
        "request. Means over seeds; bars are the 95 % interval."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        ratios = {who: usd / PUBLISHED_USD["iServe"] for who, usd in PUBLISHED_USD.items() if who != "iServe"}
        return tuple(
            Expectation(
                f"cost of operation at 16 bits, {who} over iServe",
                f"{ratio:.2f}",
                MAVERIQ,
                lambda frame, who=who: _ratio(frame, "usd", who, "iServe"),  # type: ignore[misc]
                Band(ratio / WITHIN, ratio * WITHIN),
                UNTOLD,
            )
            for who, ratio in ratios.items()
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        seeds = (1, 2) if runner.quick else tuple(range(1, 9))
        rows: list[dict[str, Any]] = []
        for who in WHO:
            placements = placed_by(who, LARGE, PER_MINUTE * RATE / 30, Intent("min_latency", accuracy=1.0))
            work = [_gpu_seconds(replicas) for replicas in placements]
            for seed in seeds:
                asked = arrivals(LARGE, RATE, seed)
                served = run(placements, asked)
                values = {
                    "usd": GPUS * float(np.nanmax(served.end_s)) / 3600 * USD_PER_GPU_HOUR,
                    "latency_s": float(np.nanmean(served.end_s - asked.time_s)),
                    "gpu_s": float(np.nanmean(np.array(work)[asked.model])),
                }
                rows += [{"system": who, "seed": seed, "metric": metric, "value": value} for metric, value in values.items()]
        runner.rest_on(
            "Simulated: fixed-batch engines that share GPUs (sim/fixedbatch.py), latencies from policies/extrapolation, fitted to "
            "MaverIQ's measurements; 30 minutes of the trace in 15.",
            seeds,
        )
        return pd.DataFrame(rows)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        panels = canvas.subplots(1, 3, sharey=True)
        canvas.subplots_adjust(left=0.1, right=0.985, bottom=0.22, top=0.95, wspace=0.1)
        height = np.arange(len(WHO))[::-1]
        for i, (axes, (metric, title)) in enumerate(zip(panels, METRICS.items(), strict=True)):
            found = [over_seeds(_rows(frame, who, metric)) for who in WHO]
            values = np.array([m.value for m in found], float)
            ends = np.array([[m.lo, m.hi] for m in found], float)
            axes.barh(height, values, 0.6, color=series_look(i, theme)["color"], xerr=np.abs(ends.T - values),
                      error_kw={"elinewidth": 0.8, "ecolor": theme.ink})  # fmt: skip
            axes.set_xlabel(title)
            axes.set_xlim(0)
        panels[0].plot([PUBLISHED_USD[who] for who in WHO], height, linestyle="none", marker="x", color=theme.ink)
        panels[0].set_xlim(0, 1.05 * max(PUBLISHED_USD.values()))
        panels[0].set_yticks(height, WHO)


def _gpu_seconds(replicas: Sequence[Any]) -> float:
    """Of one request: GPUs that it occupies × time that each works."""
    if not replicas:
        return float("nan")
    candidate = replicas[0].candidate
    return float(candidate.latency_s.value * candidate.configuration.tensor_parallel)


def _rows(frame: DataFrame, who: str, metric: str) -> Series[Any]:
    return frame[(frame["system"] == who) & (frame["metric"] == metric)].set_index("seed")["value"]


def _ratio(frame: DataFrame, metric: str, above: str, below: str) -> Measured:
    return ratio_over_seeds(_rows(frame, above, metric), _rows(frame, below, metric))
