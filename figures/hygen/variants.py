"""Other models, GPUs and workloads: the paper's Figures 9, 12, 14 and 15."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.hygen import PAPER, SECOND_HAND
from figures.hygen.cells import ALONE, HYGEN, PLUS, TOTAL, Cells, Setting, share_within, values
from figures.hygen.drawing import draw_achieved, draw_throughput
from figures.paper import DOUBLE_IN
from figures.reproduction import Band, Expectation, Measured, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme
from sim.profiling import Objective, grid

if TYPE_CHECKING:
    from pandas import DataFrame

METRIC = "itl_s.mean@chat"
TOLERANCES = (0.1, 0.5)
_CHAT = "{name: chat, trace: azure-2023-conv, rate: %s/s, arrivals: {poisson: {}}, truncate: true, slo: {ttft: 2s, tpot: 100ms}}"
_ARXIV = "{name: batch, trace: arxiv-summarization, offline: true, backlog: 2000, truncate: true}"
_NEWS = (
    "{name: batch, trace: {prompt_tokens: {lognormal: {mean: 1000, sigma: 0.5, max: 3000}}, "
    "output_tokens: {lognormal: {mean: 80, sigma: 0.4, max: 300}}}, offline: true, backlog: 4000}"
)
_KIMI = (
    "{name: chat, trace: mooncake-conversation, rate: 0.5/s, arrivals: {poisson: {}}, truncate: true, slo: {ttft: 5s, tpot: 100ms}}"
)
_SHORT = "duration=80s"
_8B = ("model=llama-3.1-8b", "engine.num_gpu_blocks_override=8000")

NEWS = Setting(
    "news articles offline",
    (
        _SHORT,
        f"workload=[{_CHAT % 1.5}, {_NEWS}]",
    ),
)
KIMI = Setting(
    "Mooncake online",
    ("duration=300s", *_8B, "engine.max_model_len=32768", f"workload=[{_KIMI}, {_ARXIV}]"),
    budgets=grid(0.009, 0.12, 1.09),
)
SMALL = Setting(
    "Llama-3.1-8B on L40S",
    (_SHORT, "model=llama-3.1-8b", "fleet.gpu=l40s", "engine.num_gpu_blocks_override=4000", f"workload=[{_CHAT % 0.6}, {_ARXIV}]"),
    chunk=512,
    budgets=grid(0.018, 0.25, 1.09),
)
LARGE = Setting(
    "Qwen2.5-32B on 4 A100, TP 2 × PP 2",
    (
        _SHORT,
        "model=qwen2.5-32b",
        "fleet={gpu: a100, gpus: 4, tensor_parallel: 2, pipeline_parallel: 2}",
        "engine.num_gpu_blocks_override=6000",
        f"workload=[{_CHAT % 0.8}, {_ARXIV}]",
    ),
    budgets=grid(0.018, 0.25, 1.09),
    options="spread: 0",  # steps of a pipeline overlap, so that the time between two plans is not a step's
)
SETTINGS = (NEWS, KIMI, SMALL, LARGE)


class Variants:
    """The main result in four other settings, for mean TBT."""

    name = "hygen-variants"
    title = "HyGen with other workloads, on a small GPU and on a parallel engine"
    source = Source(PAPER, "Figures 9, 12, 14 and 15")
    size = (DOUBLE_IN, 3.7)
    caption = (
        "As in hygen-tolerance, for mean TBT alone. News articles: lengths like those of CNN/DailyMail, log-normal, mean 1,000 and "
        "80 tokens. Runs of 80 s, of 300 s for Mooncake's few long requests. An L40S stands for the paper's A5000, Qwen2.5-32B for "
        "its Yi-34B."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "share of HyGen's cells within their SLO, interval included",
                "all: SLOs are met",
                PAPER,
                lambda frame: share_within(frame, HYGEN),
                Band(low=1),
            ),
            Expectation(
                f"total throughput, HyGen over Sarathi, {LARGE.name}, largest cell",
                "up to 1.89 (Yi-34B, TP 2 × PP 2)",
                f"{PAPER}, Fig. 9",
                lambda frame: _gain(frame, LARGE),
                Band(0.8 * 1.89, 1.2 * 1.89),
                f"agrees within 20 %; {SECOND_HAND}; other model",
            ),
            Expectation(
                f"total throughput, HyGen over Sarathi, {SMALL.name}, largest cell",
                "up to 2.18 (Sheared-LLaMA-2.7B on A5000)",
                f"{PAPER}, Fig. 15",
                lambda frame: _gain(frame, SMALL),
                Band(0.8 * 2.18, 1.2 * 2.18),
                f"agrees within 20 %; {SECOND_HAND}; other model and GPU",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        frames = []
        for setting in SETTINGS[:2] if runner.quick else SETTINGS:
            cells = Cells(runner, setting)
            frames.append(cells.online_alone())
            for tolerance in TOLERANCES[1:] if runner.quick else TOLERANCES:
                asked: dict[str, Any] = {"objective": METRIC, "tolerance": tolerance}
                frames.append(cells.hygen([Objective(METRIC, tolerance)], **asked))
                frames.append(cells.arm(PLUS, setting.batcher("sarathi-plus"), **asked))
        return pd.concat(frames, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        shown = [setting for setting in SETTINGS if setting.name in set(frame["setting"])]
        panels = canvas.subplots(2, len(shown), sharex="col", squeeze=False)
        canvas.subplots_adjust(left=0.075, right=0.985, top=0.84, bottom=0.1, wspace=0.3, hspace=0.14)
        for column, setting in enumerate(shown):
            draw_achieved(panels[0][column], frame, METRIC, setting.name, (HYGEN, PLUS), theme)
            panels[0][column].set_title(setting.name.replace(", ", ",\n"))
            draw_throughput(panels[1][column], frame, METRIC, setting.name, (HYGEN, PLUS), theme, TOTAL)
            panels[1][column].set_xlabel("tolerance (%)")
        panels[0][0].set_ylabel("mean TBT slower (%)")
        panels[1][0].set_ylabel("total (1,000 tokens/s)")
        handles, labels = panels[0][0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="upper center", ncols=2, frameon=False, fontsize=7.5, bbox_to_anchor=(0.53, 1.0))


def _gain(frame: DataFrame, setting: Setting) -> Measured:
    best = Measured(None)
    alone = values(frame, ALONE, TOTAL, setting=setting.name)
    for tolerance in TOLERANCES:
        found = values(frame, HYGEN, TOTAL, setting=setting.name, tolerance=tolerance)
        if len(found) and len(alone):
            ratio = ratio_over_seeds(found, alone)
            if ratio.value is not None and (best.value is None or ratio.value > best.value):
                best = ratio
    return best
