"""Sets of models: how many are served, how fast, and at what cost, under each system and intent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.iserve.attainment import MAVERIQ, SYSTEMS, UNTOLD
from figures.iserve.world import LARGE, PER_MINUTE, REGULAR, TWENTY_ONE, arrivals, placed_by, run
from figures.paper import DOUBLE_IN, series_look
from figures.reproduction import Band, Expectation, Measured, over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme
from policies.intent import Goal, Intent
from policies.iserve.baselines import Placements

if TYPE_CHECKING:
    from pandas import DataFrame, Series

INTENTS: Mapping[str, Goal] = {
    "iServe, memory × time": "min_memory_time",
    "iServe, GPU time": "min_gpu_time",
    "iServe, memory": "min_memory",
}
SETS = {"4 models": LARGE, "8 models": REGULAR, "21 models": TWENTY_ONE}
RATE = 0.4
WHO = (*SYSTEMS, *INTENTS)


class Sets:
    """Three sets of models at the highest rate: models loaded, median latency, GPU-seconds per request, memory."""

    name = "iserve-sets"
    title = "Four, eight and twenty-one models on eight A6000"
    source = Source(MAVERIQ, "10, 11, 13 and 14")
    size = (DOUBLE_IN, 3.3)
    caption = (
        "At 0.4 of the conversation trace's rate, models drawn at random. From left to right: models that found a place; median "
        "latency of the requests that were served; GPU-seconds of work per request served; memory that the models take. "
        "iServe alone means the least latency; the other rows its other intents. Mean over seeds; bars are the 95 % interval where "
        "it is wider than the mark."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        loaded = {"iServe": 18, "iServe, memory × time": 20, "iServe, GPU time": 21, "iServe, memory": 21, "AlpaServe": 13,
                  "Accelerate": 21}  # fmt: skip
        rows = [
            Expectation(
                f"models loaded of 21, {who}",
                str(paper),
                MAVERIQ,
                lambda frame, who=who: _mean(frame, "21 models", who, "loaded"),  # type: ignore[misc]
                Band(paper - 1, paper + 1),
                "the paper's 21 models are not told; ours are its six, repeated",
            )
            for who, paper in loaded.items()
        ]
        return (
            *rows,
            Expectation(
                "median latency of 8 models, AlpaServe over iServe",
                "3.1 (1.01 over 0.33 s)",
                MAVERIQ,
                lambda frame: _ratio(frame, "8 models", "latency_s", "AlpaServe", "iServe"),
                Band(low=1.5),
                f"{UNTOLD}; the paper's is on the code trace",
            ),
            Expectation(
                "GPU-seconds per request of 4 models, iServe for GPU time over AlpaServe",
                "0.22 (78 % saved)",
                MAVERIQ,
                lambda frame: _ratio(frame, "4 models", "gpu_s", "iServe, GPU time", "AlpaServe"),
                Band(0.1, 0.4),
                UNTOLD,
            ),
            Expectation(
                "requests per GPU-second of 4 models, iServe for GPU time over AlpaServe",
                "4.72",
                "iServe, arXiv 2501.13111, abstract",
                lambda frame: _ratio(frame, "4 models", "gpu_s", "AlpaServe", "iServe, GPU time"),
                Band(4.72 / 2, 4.72 * 2),
                "which intent and which baseline the abstract means is not told: within a factor of two counts as agreement",
            ),
            Expectation(
                "memory of 4 models, iServe for memory over AlpaServe",
                "0.30 (70 % saved)",
                MAVERIQ,
                lambda frame: _ratio(frame, "4 models", "gigabytes", "iServe, memory", "AlpaServe"),
                Band(0.2, 0.45),
                UNTOLD,
            ),
            Expectation(
                "memory × time of a request of 4 models, iServe for that over AlpaServe",
                "0.002 (99.8 % saved)",
                MAVERIQ,
                lambda frame: _ratio(frame, "4 models", "gigabyte_s", "iServe, memory × time", "AlpaServe"),
                Band(high=0.01),
                f"{UNTOLD}; time in queues counts, which is nearly all of AlpaServe's",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        seeds = (1, 2) if runner.quick else (1, 2, 3, 4, 5)
        rows: list[dict[str, Any]] = []
        for label, models in SETS.items():
            for who in WHO:
                goal = INTENTS.get(who)
                system = "iServe" if goal else who
                placements = placed_by(system, models, PER_MINUTE * RATE / 30, Intent(goal) if goal else None)
                for seed in seeds:
                    asked = arrivals(models, RATE, seed, minutes=15)
                    served = run(placements, asked)
                    took = served.end_s - asked.time_s
                    done = ~np.isnan(took)
                    work = _gpu_seconds(placements)[asked.model[done]]
                    memory = _gigabytes(placements)
                    values = {
                        "loaded": sum(bool(replicas) for replicas in placements),
                        "latency_s": float(np.median(took[done])),
                        "gpu_s": float(work.mean()),
                        "gigabytes": float(memory.sum()),
                        "gigabyte_s": float((took * memory[asked.model])[done].mean()),
                    }
                    rows += [
                        {"set": label, "system": who, "seed": seed, "metric": metric, "value": float(value)}
                        for metric, value in values.items()
                    ]
        runner.rest_on(
            "Simulated: fixed-batch engines that share GPUs (sim/fixedbatch.py), latencies from policies/extrapolation, fitted to "
            "MaverIQ's measurements; 15 minutes of arrivals.",
            seeds,
        )
        return pd.DataFrame(rows)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

        panels = canvas.subplots(1, 4, sharey=True)
        canvas.subplots_adjust(left=0.19, right=0.985, bottom=0.14, top=0.84, wspace=0.12)
        titles = {
            "loaded": "models loaded",
            "latency_s": "median latency (s)",
            "gpu_s": "GPU-s per request",
            "gigabytes": "memory (GB)",
        }
        place = {who: len(WHO) - i for i, who in enumerate(WHO)}
        for axes, (metric, title) in zip(panels, titles.items(), strict=True):
            for i, label in enumerate(SETS):
                found = {who: _mean(frame, label, who, metric) for who in WHO}
                height = np.array([place[who] - 0.22 * (i - 1) for who in WHO])
                values = np.array([m.value for m in found.values()])
                ends = np.array([[m.lo or m.value, m.hi or m.value] for m in found.values()], float)
                look = series_look(i, theme) | {"linestyle": "none"}
                axes.errorbar(values, height, xerr=np.abs(ends.T - values), elinewidth=0.8, **look)
                if axes is panels[0]:
                    axes.annotate(label, (0.5 * i - 0.6, 1.1), xycoords="axes fraction", color=look["color"], size=7,
                                  annotation_clip=False)  # fmt: skip
            if metric in ("latency_s", "gpu_s"):
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator() if metric == "latency_s" else FixedLocator([0.5, 1, 2, 5, 10]))
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
            elif metric == "gigabytes":
                axes.set_xlim(0)
            axes.set_xlabel(title)
        panels[0].set_yticks(list(place.values()), list(place))


def _gpu_seconds(placements: Placements) -> Any:
    """Of one request, by model: GPUs that it occupies × time that each works."""
    return np.array(
        [
            replicas[0].candidate.latency_s.value * replicas[0].candidate.configuration.tensor_parallel if replicas else np.nan
            for replicas in placements
        ]
    )


def _gigabytes(placements: Placements) -> Any:
    """By model, of all its engines on all their GPUs."""
    return np.array([sum(sum(placed.bytes_per_device) for placed in replicas) / 1e9 for replicas in placements])


def _rows(frame: DataFrame, label: str, who: str, metric: str) -> Series[Any]:
    rows = frame[(frame["set"] == label) & (frame["system"] == who) & (frame["metric"] == metric)]
    return rows.set_index("seed")["value"]


def _mean(frame: DataFrame, label: str, who: str, metric: str) -> Measured:
    return over_seeds(_rows(frame, label, who, metric))


def _ratio(frame: DataFrame, label: str, metric: str, above: str, below: str) -> Measured:
    return ratio_over_seeds(_rows(frame, label, above, metric), _rows(frame, label, below, metric))
