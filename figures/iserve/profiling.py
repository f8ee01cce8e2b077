"""What profiling costs, and what it is worth: from one and two layers to whole models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.iserve.attainment import MAVERIQ
from figures.iserve.measured import ABSENT, PROMPT_TOKENS, by_layers, errors
from figures.iserve.world import offered
from figures.paper import DOUBLE_IN, series_look
from figures.reproduction import Band, Expectation, Measured
from figures.runner import Runner
from figures.style import Theme
from policies.extrapolation import MAVERIQ_MODELS, RTX_A6000, RTX_A6000_EXTRAPOLATION, WEIGHT_BYTES, Runs
from policies.extrapolation.interval import LEVELS

if TYPE_CHECKING:
    from pandas import DataFrame

SCALED = ("falcon-7b", "llama-2-7b", "llama-2-13b")
OUTPUT = 20
PUBLISHED_GPU_HOURS = {"llama-2-7b": (5.947, 0.686), "llama-2-70b": (12.395, 0.804)}
"""Full profiling (AlpaServe-full) and MaverIQ's fingerprints."""
METHODS = ("MaverIQ's equations", "ours", "ours, model left out")
PUBLISHED_ERROR = 4.39

START_S = 60.0
LOAD_BYTES_S = 2e9
REPEATS = 10
OUTPUTS = (10, 20)
"""What is measured of every engine that is started: output tokens of one request, ``REPEATS`` times each.

MaverIQ measures batches of two as well, for which the constants of its links are not known.
"""


class Profiling:
    """How latency grows with layers, how well fingerprints foretell whole models, and what they cost."""

    name = "iserve-profiling"
    title = "Fingerprints: latency by layers, error and cost of profiling"
    source = Source(MAVERIQ, "fingerprint scaling; profiling accuracy and cost")
    size = (DOUBLE_IN, 2.5)
    caption = (
        f"Left: latency at 16 bits on one GPU, {PROMPT_TOKENS} prompt and {OUTPUT} output tokens. Crosses: measured with one, two "
        "and all layers; lines: through the first two. Middle: error of the latency of 412 whole-model configurations at 100 "
        "output tokens, boxes hold half of them, whiskers nine tenths; *model left out*: constants from the other five models. "
        f"Right: GPU-hours to profile every configuration, and fingerprints alone; each engine takes {START_S:g} s to start, "
        f"loads its weights at {LOAD_BYTES_S / 1e9:g} GB/s per GPU (assumptions), and serves requests of {OUTPUTS[0]} "
        f"and {OUTPUTS[1]} output tokens, {REPEATS} times each. Crosses: the paper's."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "median error of latency by the paper's equations (%)",
                f"{PUBLISHED_ERROR}",
                MAVERIQ,
                lambda frame: _error(frame, METHODS[0]),
                Band(4.2, 4.6),
                "the paper's exponents were fitted on the same models",
            ),
            Expectation(
                "the same by ours, each model foretold by the other five (%)",
                f"{PUBLISHED_ERROR}",
                MAVERIQ,
                lambda frame: _error(frame, METHODS[2]),
                Band(high=PUBLISHED_ERROR),
                "not MaverIQ's method: constants of the hardware, from whole runs of the other models at all output lengths",
            ),
            *(
                Expectation(
                    f"GPU-hours of full profiling over fingerprints, {model}",
                    f"{full / prints:.1f} ({full:g} over {prints:g} h)",
                    MAVERIQ,
                    lambda frame, model=model: _gain(frame, model),  # type: ignore[misc]
                    Band(7, 15.5),
                    "the paper says 7 to 15; what an engine's start costs there is not told",
                )
                for model, (full, prints) in PUBLISHED_GPU_HOURS.items()
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        table: list[dict[str, Any]] = []
        for model in SCALED:
            table += [_row("scaling", model, "measured", n, seconds) for n, seconds in by_layers(model, OUTPUT)]
            one, two = _seconds(model, [1, 2])
            table += [_row("scaling", model, "foretold", n, one + (n - 1) * (two - one)) for n in (1, MAVERIQ_MODELS[model].layers)]
        found = errors() | {METHODS[2]: _left_out()}
        table += [_row("error", "all", method, i, value) for method, values in found.items() for i, value in enumerate(values)]
        for model in PUBLISHED_GPU_HOURS:
            full, prints = _full_gpu_hours(model), _fingerprint_gpu_hours(model)
            table += [_row("cost", model, "full", 0, full), _row("cost", model, "fingerprints", 0, prints)]
        at_hand = bool(found[METHODS[0]])
        runner.rest_on(
            "Measurements of MaverIQ's repository; costs in closed form (policies/extrapolation)."
            if at_hand
            else f"{ABSENT} Costs in closed form (policies/extrapolation)."
        )
        return pd.DataFrame(table)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        left, middle, right = canvas.subplots(1, 3)
        canvas.subplots_adjust(left=0.065, right=0.985, bottom=0.2, top=0.93, wspace=0.36)
        scaling = frame[frame["panel"] == "scaling"]
        for i, model in enumerate(SCALED):
            look = series_look(i, theme)
            of = scaling[scaling["model"] == model]
            line, dots = of[of["option"] == "foretold"], of[of["option"] == "measured"]
            left.plot(line["x"], line["value"], color=look["color"], linewidth=1)
            left.plot(dots["x"], dots["value"], linestyle="none", marker="x", color=look["color"])
            left.annotate(model, (0.04, 0.92 - 0.09 * i), xycoords="axes fraction", color=look["color"], size=7)
        left.set_xlabel("layers")
        left.set_ylabel("latency (s)")
        left.set_ylim(0)
        boxes = [frame[(frame["panel"] == "error") & (frame["option"] == method)]["value"].to_numpy() for method in METHODS]
        middle.boxplot(
            [box if len(box) else [np.nan] for box in boxes],
            whis=(5, 95),
            showfliers=False,
            widths=0.5,
            medianprops={"color": theme.ink},
        )
        middle.axhline(PUBLISHED_ERROR, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)))
        note = {"xycoords": "axes fraction", "ha": "right", "color": theme.muted, "size": 7}
        middle.annotate(f"dashed: the paper's\nmedian, {PUBLISHED_ERROR} %", (0.99, 0.6), **note)
        middle.set_xticks([1, 2, 3], ["MaverIQ's\nequations", "ours", "ours, model\nleft out"], size=7)
        middle.set_ylabel("error of latency (%)")
        middle.set_ylim(0)
        for i, option in enumerate(("full", "fingerprints")):
            bars = frame[(frame["panel"] == "cost") & (frame["option"] == option)]["value"]
            place = np.arange(len(PUBLISHED_GPU_HOURS)) + 0.38 * (i - 0.5)
            colour = series_look(i, theme)["color"]
            right.bar(place, bars, 0.36, color=colour)
            right.plot(place, [hours[i] for hours in PUBLISHED_GPU_HOURS.values()], linestyle="none", marker="x", color=theme.ink)
            right.annotate(option, (0.04, 0.92 - 0.09 * i), xycoords="axes fraction", color=colour, size=7)
        right.annotate("× paper", (0.04, 0.74), xycoords="axes fraction", color=theme.ink, size=7)
        right.set_xticks(range(len(PUBLISHED_GPU_HOURS)), list(PUBLISHED_GPU_HOURS), size=7)
        right.set_ylabel("GPU-hours of profiling")
        right.set_yscale("log")
        right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.set_ylim(0.3, 60)


def _row(panel: str, model: str, option: str, x: float, value: float) -> dict[str, Any]:
    return {"panel": panel, "model": model, "option": option, "x": float(x), "value": float(value)}


def _seconds(model: str, layers: Sequence[int]) -> list[float]:
    """At 16 bits on one GPU: measured where that is at hand, else in closed form."""
    measured = dict(by_layers(model, OUTPUT))
    if all(n in measured for n in layers):
        return [measured[n] for n in layers]
    architecture = MAVERIQ_MODELS[model]
    runs = Runs.of(architecture, layers=layers, prompt=PROMPT_TOKENS, output=OUTPUT)
    return [float(s) for s in RTX_A6000.latency(architecture, runs).total_s]


def _left_out() -> list[float]:
    """Errors in per cent at even steps of the left-out residuals' distribution."""
    logs = np.interp(np.linspace(LEVELS[0], LEVELS[-1], 401), LEVELS, RTX_A6000_EXTRAPOLATION.latency_residuals.of_all)
    return [float(error) for error in 100 * np.abs(1 - np.exp(-logs))]


def _gpu_hours(model: str, gpus: int, layers: int, **deployment: Any) -> float:
    """To start one engine and measure its points."""
    architecture = MAVERIQ_MODELS[model]
    precision = deployment.get("precision", "fp16")
    weights = layers * architecture.layer_weights * WEIGHT_BYTES[precision] + 2 * architecture.vocab * architecture.hidden * 2
    busy_s = START_S + weights / gpus / LOAD_BYTES_S
    for output in OUTPUTS:
        runs = Runs.of(architecture, layers=layers, prompt=PROMPT_TOKENS, output=output, **deployment)
        busy_s += REPEATS * float(RTX_A6000.latency(architecture, runs).total_s[0])
    return gpus * busy_s / 3600


def _full_gpu_hours(model: str) -> float:
    """Of every configuration that fits."""
    layers, known = MAVERIQ_MODELS[model].layers, (c.configuration for c in offered(model))
    return sum(
        _gpu_hours(model, c.gpus, layers, tp=c.tensor_parallel, pp=c.pipeline_parallel, precision=c.precision, kv_bytes=_kv(c))
        for c in known
    )


def _fingerprint_gpu_hours(model: str) -> float:
    """Of one and two layers at (TP, PP) = (1, 1) and (2, 1), and of two and three at (1, 2) for memory, at every precision."""
    kinds = {(c.configuration.precision, _kv(c.configuration)) for c in offered(model)}
    shapes = [(1, 1, 1), (1, 1, 2), (2, 1, 1), (2, 1, 2), (1, 2, 2), (1, 2, 3)]
    return sum(
        _gpu_hours(model, tp * pp, layers, tp=tp, pp=pp, precision=precision, kv_bytes=kv)
        for precision, kv in sorted(kinds)
        for tp, pp, layers in shapes
    )


def _kv(configuration: Any) -> float:
    return 1.0 if configuration.kv_precision == "int8" else 2.0


def _error(frame: DataFrame, method: str) -> Measured:
    """Median over the very configurations of the paper, so that nothing is sampled."""
    values = frame[(frame["panel"] == "error") & (frame["option"] == method)]["value"]
    return _exact(float(values.median())) if len(values) else Measured(None, note=ABSENT)


def _gain(frame: DataFrame, model: str) -> Measured:
    rows = frame[(frame["panel"] == "cost") & (frame["model"] == model)].set_index("option")["value"]
    return _exact(float(rows["full"] / rows["fingerprints"]))


def _exact(value: float) -> Measured:
    return Measured(value, value, value)
