"""Why tiers: the tightest TPOT on an engine bounds its batch, for all of its requests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.paper import DOUBLE_IN, plain_log_ticks, series_look
from figures.polyserve import PAPER
from figures.polyserve.rates import GAIN, STYLES
from figures.polyserve.setting import CO, PD, WORKLOADS, engine, optimum
from figures.reproduction import Band, Expectation, Measured
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_MS = (15, 20, 25, 30, 35, 40, 50, 60, 80, 100)
_KEYS = ("azure-conv", "servegen", "uniform-4096-1024")
_TIGHT, _LOOSE = 20, 40
_ENGINES = 20
_MIXED = {f"{_TIGHT}ms": 1.0}
"""The tiers of a fleet that serves everyone as if they had the tightest objective."""
_WHY = "a closed form has no interval; to agree means within 10 %; the paper's example does not tell its context length"


class Mixing:
    """Largest batch and cost of decoding over the TPOT objective, in closed form."""

    name = "polyserve-mixing"
    title = "What mixing tiers costs"
    source = Source(PAPER, "§3")
    size = (DOUBLE_IN, 2.2)
    caption = (
        "Left: the most requests that can decode together within a TPOT objective, by the latency model of the engine and the "
        "mean lengths of three workloads. Right: instance-milliseconds of decoding per request at that batch. Whoever shares an "
        "engine with a 20 ms request decodes at its batch and its cost. The table tells what that comes to for a fleet of "
        f"{_ENGINES}: its optimum with tiers over its optimum if all had {_TIGHT} ms. No run, no seeds."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        rows = []
        for key in _KEYS:
            title = WORKLOADS[key].title
            rows += [
                Expectation(
                    f"batch at {_LOOSE} ms over batch at {_TIGHT} ms, {title}",
                    "3 (150 → 50)",
                    PAPER + ", §3",
                    partial(_ratio, workload=key, metric="batch", above=_LOOSE, below=_TIGHT),
                    Band(2.7, 3.3),
                    _WHY,
                ),
                Expectation(
                    f"cost at {_TIGHT} ms over cost at {_LOOSE} ms, {title}",
                    "≈ 1.5",
                    PAPER + ", §3",
                    partial(_ratio, workload=key, metric="instance_ms", above=_TIGHT, below=_LOOSE),
                    Band(1.35, 1.65),
                    _WHY,
                ),
            ]
        for style, gain in GAIN.items():
            rows += [
                Expectation(
                    f"optimum of a fleet with tiers over one that serves all within {_TIGHT} ms, {workload.title}, {STYLES[style]}",
                    f"≥ {gain:g} was measured",
                    f"{PAPER}, abstract",
                    partial(_gain, workload=key, style=style),
                    Band(low=gain),
                    "a closed form; it leaves out what admission and placement win beside tiers",
                )
                for key, workload in WORKLOADS.items()
            ]
        return rows

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        from policies.polyserve.optimal import decode_cost_s, largest_batch

        latency, room = engine()
        rows = []
        for key in _KEYS:
            lengths = WORKLOADS[key].lengths
            for ms in _MS:
                batch = largest_batch(latency, room, lengths, ms / 1e3, prefill=False)
                cost = decode_cost_s(latency, room, lengths, ms / 1e3, prefill=False)
                rows += [(key, ms, "batch", float(batch)), (key, ms, "instance_ms", 1e3 * cost)]
        for key, workload in WORKLOADS.items():
            for style in (CO, PD):
                tiered, mixed = (optimum(workload, style, _ENGINES, *tiers)[0] for tiers in ((), (_MIXED,)))
                rows.append((key, _TIGHT, f"gain_{style}", tiered / mixed))
        runner.rest_on("Llama-3.1-8B on H200, fingerprint llama-3.1-8b/h200/tp1/bf16; a closed form.")
        return pd.DataFrame(rows, columns=["workload", "tpot_ms", "metric", "value"])

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        panels = canvas.subplots(1, 2)
        canvas.subplots_adjust(left=0.08, right=0.985, top=0.87, bottom=0.18, wspace=0.22)
        for axes, metric, label in zip(panels, ("batch", "instance_ms"), ("largest batch", "instance-ms per request"), strict=True):
            for index, key in enumerate(_KEYS):
                rows = frame[(frame["workload"] == key) & (frame["metric"] == metric)]
                axes.plot(rows["tpot_ms"], rows["value"], label=WORKLOADS[key].title, **series_look(index, theme))
            axes.set_xlabel("TPOT objective (ms)")
            axes.set_ylabel(label)
            axes.set_ylim(0, None)
            if metric == "instance_ms":
                axes.set_yscale("log")
                axes.set_ylim(5, 500)
                plain_log_ticks(axes.yaxis)
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="upper center", ncols=len(_KEYS), fontsize=7)


def _ratio(frame: DataFrame, workload: str, metric: str, above: int, below: int) -> Measured:
    rows = frame[(frame["workload"] == workload) & (frame["metric"] == metric)].set_index("tpot_ms")["value"]
    ratio = float(rows[above] / rows[below])
    return Measured(ratio, ratio, ratio)


def _gain(frame: DataFrame, workload: str, style: str) -> Measured:
    found = frame[(frame["workload"] == workload) & (frame["metric"] == f"gain_{style}")]["value"]
    return Measured(float(found.iloc[0]), float(found.iloc[0]), float(found.iloc[0]))
