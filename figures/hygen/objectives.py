"""Several objectives at once, the online rate, and a wrong predictor: the paper's Figures 10, 11, 16 and 17."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.hygen import PAPER
from figures.hygen.cells import HYGEN, MANY, OFFLINE, TAIL, Cells, Setting, share_within, slowdown, values
from figures.hygen.drawing import draw_points, look, percent, thousands
from figures.hygen.tolerance import MAIN
from figures.paper import DOUBLE_IN
from figures.reproduction import Band, Expectation, Measured, over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme
from policies.hygen.predictor import Predictor
from policies.latency import FingerprintLatency
from sim.profiling import Objective

if TYPE_CHECKING:
    from pandas import DataFrame

MEAN = "itl_s.mean@chat"
TAIL_TOLERANCE = 0.08
TOLERANCES = (0.1, 0.2, 0.3, 0.5)
RATES = (0.5, 1.5, 2.5, 5.0, 7.0)
"""Up to what the engine serves: 2.5/s, the paper's highest, is far from saturation here."""
RATE_TOLERANCE = 0.2
ERRORS = (0.0, 0.2)


class Objectives:
    """Two objectives; the online rate; errors of the predictor."""

    name = "hygen-objectives"
    title = "HyGen under two objectives, at other online rates, and with a wrong predictor"
    source = Source(PAPER, "Figures 10, 11, 16 and 17")
    size = (DOUBLE_IN, 2.5)
    caption = (
        "Left: a tolerance on mean TBT together with 8 % on P99 TTFT, which the dashed line marks; a point above its line breaks "
        f"the SLO. Middle: offline tokens per second, prompts included, against the online rate, for {100 * RATE_TOLERANCE:g} % on "
        "mean TBT, profiled at every rate. Right: the same objective, with every weight of the predictor off by the share told, up "
        "and down in turns; the profile is made with the wrong predictor. Bars are 95 % intervals over seeds that no profile has "
        "seen, twelve on the left, four elsewhere."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "share of HyGen's cells within their SLO for mean TBT, interval included",
                "all: SLOs are met",
                PAPER,
                lambda frame: share_within(frame, HYGEN),
                Band(low=1),
            ),
            Expectation(
                f"P99 TTFT under both objectives, mean TBT {100 * TOLERANCES[-1]:g} %, relative to online alone",
                "≤ 1.08: both are satisfied",
                f"{PAPER}, Fig. 11",
                lambda frame: slowdown(frame, HYGEN, TAIL, MAIN.name, study="both", tolerance=TOLERANCES[-1]),
                Band(high=1 + TAIL_TOLERANCE),
            ),
            Expectation(
                f"offline throughput at {RATES[-1]:g} requests/s as a share of that at {RATES[0]:g}",
                "to about 0 at saturation",
                f"{PAPER}, Fig. 10",
                _shares,
                Band(high=0.5),
                "agrees below a half; other rates than the paper's",
            ),
            Expectation(
                "offline throughput with a predictor 20 % off, as a share of that with the right one",
                "robust: the profiler compensates",
                f"{PAPER}, Fig. 16",
                _with_error,
                Band(low=0.8),
                "agrees from 0.8 on",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        frames = []
        cells = Cells(runner, MAIN)
        frames.append(cells.online_alone(MANY.shown))
        for tolerance in TOLERANCES[1::2] if runner.quick else TOLERANCES:
            both = [Objective(MEAN, tolerance), Objective(TAIL, TAIL_TOLERANCE)]
            frames.append(cells.hygen(both, study="both", objective=MEAN, tolerance=tolerance))
        for rate in RATES[::2] if runner.quick else RATES:
            at = Cells(runner, Setting(f"{rate:g}/s", (*MAIN.sets, f"workload.chat.rate={rate:g}/s")))
            frames.append(at.online_alone())
            found = at.hygen([Objective(MEAN, RATE_TOLERANCE)], study="rate", objective=MEAN, tolerance=RATE_TOLERANCE)
            frames.append(found.assign(rate=rate))
        for error in ERRORS:
            options = f"weights: {_wrong(error)}, spread: 0" if error else ""
            wrong = Cells(runner, Setting(f"{100 * error:g} % off", MAIN.sets, options=options))
            frames.append(wrong.online_alone())
            found = wrong.hygen([Objective(MEAN, RATE_TOLERANCE)], study="error", objective=MEAN, tolerance=RATE_TOLERANCE)
            frames.append(found.assign(error=error))
        return pd.concat(frames, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        both, rate, error = canvas.subplots(1, 3)
        canvas.subplots_adjust(left=0.07, right=0.985, top=0.9, bottom=0.17, wspace=0.3)
        rows = frame[frame["study"] == "both"]
        tolerances = sorted(rows["tolerance"].unique())
        top = 106 * max(tolerances)
        both.plot([0, top], [0, top], color=theme.muted, linewidth=0.9)
        both.axhline(100 * TAIL_TOLERANCE, color=theme.muted, linewidth=0.9, linestyle=(0, (4, 2)))
        for index, (metric, label) in enumerate(((MEAN, "mean TBT"), (TAIL, "P99 TTFT"))):
            found = [
                percent(slowdown(rows_and_alone(frame), HYGEN, metric, MAIN.name, study="both", tolerance=t)) for t in tolerances
            ]
            draw_points(both, [100 * t for t in tolerances], found, look((HYGEN, "HyGen*")[index], theme), label)
        both.set_xlim(0, top)
        both.set_xlabel("tolerance on mean TBT (%)")
        both.set_ylabel("slower than online alone (%)")
        both.legend(frameon=False, fontsize=7, loc="upper left")
        self._curve(rate, frame, "rate", theme, 1.0)
        rate.set_xlabel("online rate (requests/s)")
        rate.set_ylabel("offline (1,000 tokens/s)")
        self._curve(error, frame, "error", theme, 100.0)
        error.set_xlabel("error of the weights (%)")

    @staticmethod
    def _curve(axes: Any, frame: DataFrame, by: str, theme: Theme, times: float) -> None:
        rows = frame[frame["study"] == by]
        at = sorted(rows[by].unique())
        found = [thousands(over_seeds(values(rows, HYGEN, OFFLINE, **{by: x}))) for x in at]
        draw_points(axes, [times * x for x in at], found, look(HYGEN, theme), HYGEN)
        axes.set_ylim(0, None)


def rows_and_alone(frame: DataFrame) -> DataFrame:
    """The main setting's rows."""
    return frame[frame["setting"] == MAIN.name]


def _wrong(error: float) -> str:
    """The predictor of the main setting's fingerprint, its weights off by ``error`` in turns."""
    from traces.fingerprints import load_fingerprint

    latency = FingerprintLatency(load_fingerprint("llama-2-7b", "a100", 1, "bf16"))
    right = Predictor.believed(latency, tokens=MAIN.chunk, seqs=256, context=168)
    return "[" + ", ".join(f"{weight * (1 + (error if i % 2 else -error)):.6g}" for i, weight in enumerate(right.weights)) + "]"


def _shares(frame: DataFrame) -> Measured:
    ends = [values(frame[frame["study"] == "rate"], HYGEN, OFFLINE, rate=rate) for rate in (RATES[-1], RATES[0])]
    if not ends[0].any():
        return Measured(0.0, 0.0, 0.0, len(ends[0]), "no offline work in any run")
    return ratio_over_seeds(*ends)


def _with_error(frame: DataFrame) -> Measured:
    ends = [values(frame[frame["study"] == "error"], HYGEN, OFFLINE, error=error) for error in (ERRORS[-1], 0.0)]
    return ratio_over_seeds(*ends)
