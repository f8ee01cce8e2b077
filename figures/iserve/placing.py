"""Where models are put: the load-aware heuristics against each other, and against the exact optimum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.iserve.attainment import MAVERIQ, UNTOLD
from figures.iserve.world import GPU_BYTES, GPUS, PER_MINUTE, REGULAR, USD_PER_GPU_HOUR, arrivals, devices, offered, run
from figures.paper import DOUBLE_IN, series_look
from figures.reproduction import Band, Expectation, Measured, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme
from policies.extrapolation import MAVERIQ_MODELS
from policies.intent import Intent
from policies.iserve.intents import ranked, score_of
from policies.iserve.optimum import Infeasible, Wish, optimum
from policies.iserve.placement import HYBRID, LEAST_LOADED, PACKING, Device, place_all
from policies.streams import generator

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from policies.iserve.candidate import Candidate

POLICIES = {"least loaded": LEAST_LOADED, "hybrid": HYBRID, "packing": PACKING}
RATE = 0.2
SIZES = ((4, 4), (8, 8), (8, 12), (16, 16), (16, 24))
GOAL = Intent("min_memory_time")
FASTEST = Intent("min_latency")
"""Which wants more memory than there is, so that models compete; under the others every model gets its best."""


class Placing:
    """Latency, GPUs and cost of three placement policies; the gap of the heuristic to the optimum."""

    name = "iserve-placement"
    title = "Placement policies, and how far they are from the optimum"
    source = Source(MAVERIQ, "deployer policies; the right panel has no counterpart")
    size = (DOUBLE_IN, 2.4)
    caption = (
        "Eight models on eight A6000 at 0.2 of the conversation trace's rate, intent memory × time. Left: GPUs in use. Middle: "
        "latency of the requests, median (dot) to 95th percentile (tick). Right, intent latency, random rates: by how much the "
        "models' scores under the hybrid heuristic exceed the best placement's (dots, and their mean); above, how "
        "often the heuristic leaves a model out that the optimum serves."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "cost of GPUs, hybrid over least loaded",
                "0.61 ($1.65 over $2.69)",
                MAVERIQ,
                lambda frame: _ratio(frame, "usd", "hybrid", "least loaded"),
                Band(0.5, 0.75),
                UNTOLD,
            ),
            Expectation(
                "cost of GPUs, packing over least loaded",
                "0.52 ($1.40 over $2.69)",
                MAVERIQ,
                lambda frame: _ratio(frame, "usd", "packing", "least loaded"),
                Band(0.4, 0.65),
                UNTOLD,
            ),
            Expectation(
                "mean latency, packing over least loaded",
                "1.35",
                MAVERIQ,
                lambda frame: _ratio(frame, "mean_s", "packing", "least loaded"),
                Band(1.1, 1.7),
                UNTOLD,
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        seeds = (1, 2) if runner.quick else (1, 2, 3, 4, 5)
        runner.rest_on(
            "Simulated: fixed-batch engines that share GPUs (sim/fixedbatch.py), latencies from policies/extrapolation, fitted to "
            "MaverIQ's measurements. Optimum: HiGHS (policies/iserve/optimum.py).",
            seeds,
        )
        return pd.DataFrame([*_policies(seeds), *_gaps(2 if runner.quick else 10)])

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        left, middle, right = canvas.subplots(1, 3, width_ratios=(1, 1.2, 1.4))
        canvas.subplots_adjust(left=0.11, right=0.985, bottom=0.2, top=0.93, wspace=0.25)
        for i, policy in enumerate(POLICIES):
            look = series_look(i, theme) | {"linestyle": "none"}
            gpus = _of(frame, policy, "gpus").mean()
            left.barh(-i, gpus, color=look["color"], height=0.6)
            median, tail = (_of(frame, policy, metric).mean() for metric in ("median_s", "p95_s"))
            middle.plot([median, tail], [-i, -i], color=look["color"], linewidth=1)
            middle.plot([median], [-i], **look)
            middle.plot([tail], [-i], marker="|", markersize=7, color=look["color"])
        left.set_yticks([-i for i in range(len(POLICIES))], list(POLICIES))
        left.set_xlabel("GPUs in use")
        left.set_xlim(0, GPUS)
        middle.set_ylim(left.get_ylim())
        middle.set_yticks([])
        middle.set_xlim(0)
        middle.set_xlabel("latency, median to p95 (s)")
        labels = [f"{models}\non {gpus}" for gpus, models in SIZES]
        rows = frame[frame["metric"] == "gap"]
        for place, label in enumerate(labels):
            found = rows[rows["policy"] == label.replace("\n", " ")]["value"].to_numpy()
            served = found[np.isfinite(found)]
            jitter = np.linspace(-0.15, 0.15, len(found))[: len(served)]
            right.plot(place + jitter, served, linestyle="none", marker="o", markersize=3, color=theme.series[0])
            if len(served):
                right.plot([place - 0.25, place + 0.25], [served.mean()] * 2, color=theme.series[0])
            lost = len(found) - len(served)
            if lost:
                right.annotate(f"{lost} of {len(found)}\nleft out", (place, 0.98), xycoords=("data", "axes fraction"), ha="center",
                               va="top", size=7, color=theme.muted)  # fmt: skip
        right.set_xticks(range(len(labels)), labels)
        right.set_ylim(-1, max(12.0, 1.35 * float(rows["value"].replace(np.inf, np.nan).max())))
        right.set_xlabel("models on GPUs")
        right.set_ylabel("worse than the optimum (%)")


def _policies(seeds: Sequence[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    rate = PER_MINUTE * RATE / 30
    demands = [(ranked(offered(model), GOAL), rate / len(REGULAR)) for model in REGULAR]
    for policy, threshold in POLICIES.items():
        placements = [[placed] if placed else [] for placed in place_all(demands, devices(), threshold)]
        used = {device for replicas in placements for placed in replicas for device in placed.devices}
        for seed in seeds:
            asked = arrivals(REGULAR, RATE, seed, minutes=15)
            served = run(placements, asked)
            took = served.end_s - asked.time_s
            done = took[~np.isnan(took)]
            values = {
                "gpus": float(len(used)),
                "usd": len(used) * USD_PER_GPU_HOUR * asked.seconds / 3600,
                "mean_s": float(done.mean()),
                "median_s": float(np.median(done)),
                "p95_s": float(np.percentile(done, 95)),
            }
            rows += [{"policy": policy, "seed": seed, "metric": metric, "value": value} for metric, value in values.items()]
    return rows


def wishes_of(models: int, gpus: int, seed: int) -> tuple[Sequence[Sequence[Candidate]], Sequence[float], Sequence[Wish]]:
    """Models drawn at random, each with its configurations from the fastest on and a rate, in requests/s; and what is wished of
    them.
    """
    names = list(MAVERIQ_MODELS)
    draw = generator(seed, f"gap {gpus} {models}")
    rates = draw.uniform(0.05, 0.6, models).tolist()
    chosen = [_fastest_first(names[i]) for i in draw.integers(0, len(names), models)]
    return chosen, rates, [Wish(c, [score_of(x, FASTEST) for x in c], r) for c, r in zip(chosen, rates, strict=True)]


@cache
def _fastest_first(name: str) -> Sequence[Candidate]:
    return ranked(offered(name), FASTEST)


def _gaps(instances: int) -> list[dict[str, Any]]:
    """Heuristic against optimum, in per cent; ``inf`` where the heuristic leaves a model out and the optimum does not."""
    rows: list[dict[str, Any]] = []
    for gpus, models in SIZES:
        room = [Device(f"gpu{i:02d}", "a6000", GPU_BYTES) for i in range(gpus)]
        for seed in range(instances):
            chosen, rates, wishes = wishes_of(models, gpus, seed)
            try:
                best = optimum(wishes, room)
            except Infeasible:
                continue
            placed = place_all(list(zip(chosen, rates, strict=True)), room, HYBRID)
            score = sum(score_of(p.candidate, FASTEST) if p else float("inf") for p in placed)
            rows.append({"policy": f"{models} on {gpus}", "seed": seed, "metric": "gap", "value": 100 * (score / best.score - 1)})
    return rows


def _of(frame: DataFrame, policy: str, metric: str) -> Series[Any]:
    return frame[(frame["policy"] == policy) & (frame["metric"] == metric)].set_index("seed")["value"]


def _ratio(frame: DataFrame, metric: str, above: str, below: str) -> Measured:
    return ratio_over_seeds(_of(frame, above, metric), _of(frame, below, metric))
