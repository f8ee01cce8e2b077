"""What a step's token budget trades: inter-token latency against throughput."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.baselines import AFTER, SECONDARY
from figures.frame import SCENARIOS, Source
from figures.labels import Label, label_right
from figures.paper import SINGLE_IN, beside, plain_log_ticks, ramp
from figures.reproduction import Band, Expectation, Measured, curve_over_seeds, ratio_over_seeds
from figures.runner import Runner, Sweep
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame, Series

SARATHI = "Agrawal et al., Sarathi-Serve, OSDI '24, arXiv 2403.02310"
VLLM_DOCS = "vLLM documentation, Optimization and Tuning, section Performance Tuning with Chunked Prefill"


class BudgetPareto:
    """Inter-token latency against throughput, one line per token budget, as the requests in flight double."""

    name = "budget-pareto"
    title = "Latency against throughput for token budgets per step"
    source = Source(f"{SARATHI}; {VLLM_DOCS}")
    size = (SINGLE_IN, 2.9)
    caption = (
        "One line per token budget (the Sarathi batcher's chunk_tokens; hollow diamonds are vLLM's own batching, whose budget here "
        "is 8192). Along a line the requests in flight double from 8 to 256. Mean over seeds, bars are its 95 % interval in both "
        "directions. Small dots: mean TTFT is above 1 s, as the budget leaves "
        "too little for prompts. The band joins the other points that none of them beats in both. ITL counts every gap between two "
        "tokens of a request, all of the run."
    )

    scenario = SCENARIOS / "budget-pareto.yaml"
    late_s = 1.0
    vllm = "vllm"

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "p99 ITL at 64 in flight, budget 512 over 8192",
                "< 1: a budget bounds what a prefill can delay",
                SARATHI,
                lambda frame: self._ratio(frame, "itl_s.p99", "512", "8192"),
                Band(high=1),
                f"{AFTER}; {SECONDARY}",
            ),
            Expectation(
                "highest throughput, budget 512 over 8192",
                "≤ 1: small chunks cost some throughput",
                SARATHI,
                lambda frame: self._peak_ratio(frame, "512", "8192"),
                Band(high=1),
                f"{AFTER}; {SECONDARY}",
            ),
            Expectation(
                "p99 ITL at 64 in flight, budget 2048 over 8192",
                "< 1: smaller values achieve better ITL",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "itl_s.p99", "2048", "8192"),
                Band(high=1),
                AFTER,
            ),
            Expectation(
                "mean TTFT at 64 in flight, budget 8192 over 2048",
                "< 1: higher values achieve better TTFT",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "ttft_s.mean", "8192", "2048"),
                Band(high=1),
                AFTER,
            ),
            Expectation(
                "highest throughput, budget 8192 over 2048",
                "≥ 1: for optimal throughput more than 8192, for small models on large GPUs",
                VLLM_DOCS,
                lambda frame: self._peak_ratio(frame, "8192", "2048"),
                Band(low=1),
                AFTER,
            ),
            Expectation(
                "throughput at 64 in flight, budget 8192 over 2048",
                "≥ 1: the same advice, at less than the highest load",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "throughput_tok_s", "8192", "2048"),
                Band(low=1),
                AFTER,
            ),
            Expectation(
                "throughput at 64 in flight, Sarathi with 8192 over vLLM",
                "1: vLLM's chunked prefill with that budget",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "throughput_tok_s", "8192", self.vllm),
                Band(0.999, 1.001),
                AFTER,
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        budgets = (512, 2048, 8192) if runner.quick else (128, 256, 512, 1024, 2048, 4096, 8192)
        in_flight = (16, 64) if runner.quick else (8, 16, 32, 64, 128, 256)
        seeds = (1, 2, 3) if runner.quick else (1, 2, 3, 4, 5)
        sets = ("duration=40s", "warmup=10s") if runner.quick else ()
        names = {f"{{sarathi: {{chunk_tokens: {budget}}}}}": str(budget) for budget in budgets} | {self.vllm: self.vllm}
        axes = {"policy.batcher": list(names), "workload.summaries.load.concurrency": [str(n) for n in in_flight]}
        metrics = ("throughput_tok_s", "itl_s.p99", "ttft_s.mean")
        frame = runner.sweep(Sweep(self.scenario, axes, seeds, metrics, sets))
        frame = frame.rename(columns={"policy.batcher": "budget_tokens", "workload.summaries.load.concurrency": "in_flight"})
        return frame.assign(budget_tokens=frame["budget_tokens"].map(names))

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        from matplotlib.ticker import MultipleLocator

        axes = canvas.add_axes((0.125, 0.135, 0.665, 0.795))
        budgets = [name for name in frame["budget_tokens"].unique() if name != self.vllm]
        curves = {name: self._curve(frame, name) for name in (*budgets, self.vllm)}
        axes.set_yscale("log")
        _draw_frontier(axes, [curve[~curve["late"]] for curve in curves.values()], theme)
        colours = dict(zip(budgets, ramp(len(budgets), theme), strict=True))
        for name in budgets:
            _draw_curve(axes, curves[name], colours[name])
        axes.set_xlim(0, max(float(curve["x_hi"].max()) for curve in curves.values()) * 1.03)
        axes.margins(y=0.1)
        plain_log_ticks(axes.yaxis)
        axes.xaxis.set_major_locator(MultipleLocator(1000))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("throughput (output tokens/s per GPU)")
        axes.set_ylabel("p99 inter-token latency (ms)")
        self._draw_vllm(axes, curves[self.vllm], theme)
        ends = [(name, curves[name].iloc[-1]) for name in budgets]
        own = {budgets[-1]: ", vLLM"}
        labels = [Label(name + own.get(name, ""), float(end["x"]), float(end["y"]), colours[name]) for name, end in ends]
        label_right(axes, labels, size=7)
        axes.annotate(
            "token budget", (0.995, 1), **beside(0, 5, ("figure fraction", "axes fraction")), ha="right", size=7, color=theme.muted
        )

    @staticmethod
    def _draw_vllm(axes: Any, curve: DataFrame, theme: Theme) -> None:
        """Diamonds around its points, and the requests in flight at the first and the last."""
        words = {"size": 7, "color": theme.muted}
        look = {"marker": "D", "markersize": 5.5, "markerfacecolor": "none", "markeredgecolor": theme.ink, "markeredgewidth": 0.7}
        axes.plot(curve["x"], curve["y"], linestyle="none", **look)
        first, last = curve.iloc[0], curve.iloc[-1]
        axes.annotate(f"{curve.index[0]} in flight", (first["x"], first["y"]), **beside(-5, 0), ha="right", va="center", **words)
        axes.annotate(f"{curve.index[-1]} in flight", (last["x"], last["y"]), **beside(0, 6), ha="center", va="bottom", **words)

    def _curve(self, frame: DataFrame, name: str) -> DataFrame:
        """By requests in flight: ``x`` (tokens/s) and ``y`` (ms) with their intervals, and whether first tokens are ``late``."""
        rows = frame[frame["budget_tokens"] == name]
        x, y, ttft = (
            curve_over_seeds(rows[rows["metric"] == metric], "in_flight", log=True)
            for metric in ("throughput_tok_s", "itl_s.p99", "ttft_s.mean")
        )
        x = x.rename(columns={"mean": "x", "lo": "x_lo", "hi": "x_hi"})
        y = 1e3 * y.rename(columns={"mean": "y", "lo": "y_lo", "hi": "y_hi"})
        return x.join(y).assign(late=ttft["mean"] > self.late_s)

    def _ratio(self, frame: DataFrame, metric: str, above: str, below: str) -> Measured:
        rows = frame[(frame["metric"] == metric) & (frame["in_flight"] == 64)].set_index("seed")
        return ratio_over_seeds(*(rows[rows["budget_tokens"] == name]["value"] for name in (above, below)))

    def _peak_ratio(self, frame: DataFrame, above: str, below: str) -> Measured:
        return ratio_over_seeds(self._peak(frame, above), self._peak(frame, below))

    @staticmethod
    def _peak(frame: DataFrame, name: str) -> Series[Any]:
        rows = frame[(frame["metric"] == "throughput_tok_s") & (frame["budget_tokens"] == name)]
        return rows.groupby("seed")["value"].max()


def _draw_curve(axes: Any, curve: DataFrame, colour: str) -> None:
    axes.plot(curve["x"], curve["y"], color=colour, linewidth=1.1)
    x_bars, y_bars = ([curve[axis] - curve[f"{axis}_lo"], curve[f"{axis}_hi"] - curve[axis]] for axis in ("x", "y"))
    axes.errorbar(curve["x"], curve["y"], xerr=x_bars, yerr=y_bars, linestyle="none", ecolor=colour, elinewidth=0.7)
    for late, size in ((False, 4.0), (True, 1.8)):
        points = curve[curve["late"] == late]
        axes.plot(points["x"], points["y"], linestyle="none", marker="o", markersize=size, color=colour)


def _draw_frontier(axes: Any, curves: Sequence[DataFrame], theme: Theme) -> None:
    """A band through the points that no other beats in both throughput and latency."""
    points = np.concatenate([curve[["x", "y"]].to_numpy() for curve in curves])
    best = points[[not ((points[:, 0] > x) & (points[:, 1] <= y)).any() for x, y in points]]
    best = best[np.argsort(best[:, 0])]
    axes.plot(best[:, 0], best[:, 1], color=theme.grid, linewidth=7, solid_capstyle="round", solid_joinstyle="round", zorder=0.5)
