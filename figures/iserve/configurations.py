"""What parallelism, quantisation and uneven stages do to one request's latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.iserve.attainment import MAVERIQ
from figures.iserve.world import ENGINE
from figures.paper import DOUBLE_IN, series_look
from figures.reproduction import Band, Expectation, Measured
from figures.runner import Runner
from figures.style import Theme
from policies.extrapolation import MAVERIQ_MODELS, RTX_A6000, Runs

if TYPE_CHECKING:
    from pandas import DataFrame

PUBLISHED_SPEEDUP = {
    "falcon-7b": {"int8": 1.71, "int4": 2.55},
    "falcon-40b": {"int8": 1.86, "int4": 3.13},
    "gptj-6b": {"int8": 1.69, "int4": 2.48},
    "llama-2-7b": {"int8": 1.72, "int4": 2.57},
    "llama-2-13b": {"int8": 1.76, "int4": 2.72},
    "llama-2-70b": {"int8": 1.88, "int4": 3.25},
}
TENSOR_PARALLEL = (1, 2, 4, 8)
OUTPUT_TOKENS = 100
SMALLEST = {"llama-2-70b": 4, "falcon-40b": 2}
"""GPUs that a model at 16 bits takes, where it is not one; its precisions are compared there."""
FITTED = "the model was fitted to the same measurements: this shows that it keeps them, not that it foretells them"


class Configurations:
    """Tensor and pipeline parallelism, precision, and splits of a pipeline."""

    name = "iserve-configurations"
    title = "Latency of one request by parallelism, precision and split of the pipeline"
    source = Source(MAVERIQ, "motivation: parallelism, quantisation, unbalanced pipelines")
    size = (DOUBLE_IN, 2.5)
    caption = (
        "Left: Llama-2-13B at 16 bits, 923 prompt and 100 output tokens, over GPUs used as tensor-parallel ranks or as pipeline "
        "stages. Middle: how much faster 8 and 4 bits are than 16, crosses are the paper's. Right: Llama-2-70B at 4 bits in two "
        "stages, by the layers of the first one, against an even split."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        speedups = [
            Expectation(
                f"{model}, 16 bits over {precision}",
                f"{paper:g}",
                MAVERIQ,
                lambda frame, model=model, precision=precision: _only(  # type: ignore[misc]
                    frame, panel="quantisation", model=model, option=precision
                ),
                Band(0.93 * paper, 1.07 * paper),
                FITTED,
            )
            for model, ratios in PUBLISHED_SPEEDUP.items()
            for precision, paper in ratios.items()
        ]
        return (
            Expectation(
                "Llama-2-13B, latency on 4 over 1 tensor-parallel GPUs",
                "0.36 (4.37 → 1.57 s)",
                MAVERIQ,
                lambda frame: _ratio(frame, "tensor parallel", 4, 1),
                Band(0.34, 0.38),
                FITTED,
            ),
            Expectation(
                "the same on 8 over 4",
                "1.17 (1.57 → 1.84 s): slower again",
                MAVERIQ,
                lambda frame: _ratio(frame, "tensor parallel", 8, 4),
                Band(1.1, 1.24),
                FITTED,
            ),
            *speedups,
            Expectation(
                "Llama-2-70B in two stages, worst of 30 : 50 to 40 : 40 over even (%)",
                "≤ 0.19",
                MAVERIQ,
                lambda frame: _exact(float(frame[frame["panel"] == "split"]["value"].max())),
                Band(high=0.19),
                FITTED,
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        rows: list[dict[str, Any]] = []

        def seconds(model: str, **deployment: Any) -> float:
            architecture = MAVERIQ_MODELS[model]
            runs = Runs.of(architecture, prompt=ENGINE.prompt, output=OUTPUT_TOKENS, **deployment)
            return float(RTX_A6000.latency(architecture, runs).total_s[0])

        for n in TENSOR_PARALLEL:
            for option, deployment in (("tensor parallel", {"tp": n}), ("pipeline", {"pp": n})):
                value = seconds("llama-2-13b", **deployment)
                rows.append({"panel": "parallelism", "model": "llama-2-13b", "option": option, "gpus": n, "value": value})
        for model in PUBLISHED_SPEEDUP:
            gpus = SMALLEST.get(model, 1)
            full = seconds(model, tp=gpus)
            for precision in ("int8", "int4"):
                value = full / seconds(model, tp=gpus, precision=precision)
                rows.append({"panel": "quantisation", "model": model, "option": precision, "gpus": gpus, "value": value})
        even = seconds("llama-2-70b", pp=2, precision="int4")
        for first in range(30, 41, 2):
            value = seconds("llama-2-70b", pp=2, precision="int4", largest_stage=max(first, 80 - first))
            rows.append(
                {"panel": "split", "model": "llama-2-70b", "option": f"{first}", "gpus": 2, "value": 100 * (value / even - 1)}
            )
        runner.rest_on("Closed form: policies/extrapolation, fitted to MaverIQ's measurements of RTX A6000.")
        return pd.DataFrame(rows)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        import numpy as np

        left, middle, right = canvas.subplots(1, 3)
        canvas.subplots_adjust(left=0.065, right=0.985, bottom=0.2, top=0.93, wspace=0.33)
        rows = frame[frame["panel"] == "parallelism"]
        for i, option in enumerate(("tensor parallel", "pipeline")):
            curve = rows[rows["option"] == option]
            look = series_look(i, theme)
            left.plot(curve["gpus"], curve["value"], **look)
            left.annotate(option, (2.2, float(curve["value"].iloc[1])), xytext=(4, 5), textcoords="offset points",
                          color=look["color"], size=7)  # fmt: skip
        left.set_xscale("log", base=2)
        left.set_xticks(TENSOR_PARALLEL, [str(n) for n in TENSOR_PARALLEL])
        left.set_ylim(0)
        left.set_xlabel("GPUs")
        left.set_ylabel("latency (s)")
        place = np.arange(len(PUBLISHED_SPEEDUP))
        for i, precision in enumerate(("int8", "int4")):
            bars = frame[(frame["panel"] == "quantisation") & (frame["option"] == precision)]["value"]
            colour = series_look(i, theme)["color"]
            middle.bar(place + 0.38 * (i - 0.5), bars, 0.36, color=colour)
            paper = [ratios[precision] for ratios in PUBLISHED_SPEEDUP.values()]
            middle.plot(place + 0.38 * (i - 0.5), paper, linestyle="none", marker="x", color=theme.ink, markersize=4)
            middle.annotate(precision, (0.03, 0.93 - 0.09 * i), xycoords="axes fraction", color=colour, size=7)
        middle.annotate("× paper", (0.03, 0.75), xycoords="axes fraction", color=theme.ink, size=7)
        names = [name.replace("-2-", "\n").replace("-", "\n") for name in PUBLISHED_SPEEDUP]
        middle.set_xticks(place, names, size=6)
        middle.set_ylabel("faster than 16 bits by (×)")
        middle.set_ylim(0, 3.9)
        split = frame[frame["panel"] == "split"]
        right.plot(split["option"].astype(int), split["value"], **series_look(0, theme))
        right.axhline(0.19, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)))
        note = {"xytext": (0, -8), "textcoords": "offset points", "size": 7, "color": theme.muted}
        right.annotate("paper: ≤ 0.19 %", (30, 0.19), **note)
        right.set_xlabel("layers of the first of two stages")
        right.set_ylabel("slower than even (%)")


def _exact(value: float) -> Measured:
    """A closed form: the interval is the value."""
    return Measured(value, value, value)


def _only(frame: DataFrame, **wanted: str) -> Measured:
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return _exact(float(frame["value"].iloc[0]))


def _ratio(frame: DataFrame, option: str, above: int, below: int) -> Measured:
    rows = frame[(frame["panel"] == "parallelism") & (frame["option"] == option)].set_index("gpus")["value"]
    return _exact(float(rows[above] / rows[below]))
