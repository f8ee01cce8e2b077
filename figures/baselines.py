"""Two figures of policies that everyone has: what routers are worth, and what a step's token budget trades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import SCENARIOS, Source
from figures.labels import Label, label_right
from figures.paper import SINGLE_IN, beside, error_bars, plain_log_ticks, ramp, series_look
from figures.reproduction import Band, Expectation, Measured, curve_over_seeds, over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MITZENMACHER = "Mitzenmacher, The power of two choices in randomized load balancing, IEEE TPDS 12(10), 2001"
LIU_TOWSLEY = "Liu and Towsley, Optimality of the round-robin routing policy, J. Appl. Prob. 31(2), 1994"
LMETRIC = "Zhang et al., LMetric, OSDI '26, arXiv 2603.15202, abstract"
SARATHI = "Agrawal et al., Sarathi-Serve, OSDI '24, arXiv 2403.02310"
VLLM_DOCS = "vLLM documentation, Optimization and Tuning, section Performance Tuning with Chunked Prefill"


class RouterAttainment:
    """Attainment against offered rate for five routers, and the rate that each takes at 90 %."""

    name = "router-attainment"
    title = "SLO attainment against offered rate under five routers"
    source = Source(f"{MITZENMACHER}; {LMETRIC}")
    size = (SINGLE_IN, 3.3)
    caption = (
        "Top: share of offered requests that meet their SLO; mean over seeds, bars are its 95 % interval. Bottom: the highest rate "
        "at which 90 % do (rate@90), found by search for each seed, with the 95 % interval of the mean. Every seed gives all "
        "routers the same arrivals, lengths and step-time noise. Routers see the live state of the engines: least-loaded counts "
        "unfinished requests, power-of-two those of two engines drawn at random, LMetric multiplies them by prefill tokens."
    )

    scenario = SCENARIOS / "router-attainment.yaml"
    routers = ("round-robin", "random", "power-of-two", "least-loaded", "lmetric")
    level = 0.90

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "rate@90, power of two over random",
                "> 1: two choices are exponentially better than one",
                MITZENMACHER,
                lambda frame: self._rate_ratio(frame, "power-of-two", "random"),
                Band(low=1),
            ),
            Expectation(
                "rate@90, least loaded over power of two",
                "≥ 1: more choices than two gain a constant factor only",
                MITZENMACHER,
                lambda frame: self._rate_ratio(frame, "least-loaded", "power-of-two"),
                Band(low=1),
            ),
            Expectation(
                "rate@90, round robin over random",
                "> 1: round robin is best of all that see no state",
                LIU_TOWSLEY,
                lambda frame: self._rate_ratio(frame, "round-robin", "random"),
                Band(low=1),
                why="shown for response times of single servers; taken here as a claim on attainment",
            ),
            Expectation(
                "mean time in system at 150/s, power of two over random",
                "0.26 at 90 % load",
                MITZENMACHER,
                lambda frame: ratio_over_seeds(
                    self._at(frame, "e2e_s.mean", "power-of-two"), self._at(frame, "e2e_s.mean", "random")
                ),
                why="0.26 is the paper's limit, Σ λ^(2^i − 2) against 1 / (1 − λ), for servers that serve one customer at a time; "
                "an engine batches, and time in system is mostly decoding",
            ),
            Expectation(
                "mean TTFT at 150/s, LMetric over least loaded",
                "0.08 (against vLLM's router)",
                LMETRIC,
                lambda frame: ratio_over_seeds(
                    self._at(frame, "ttft_s.mean", "lmetric"), self._at(frame, "ttft_s.mean", "least-loaded")
                ),
                why="the paper's workloads share prefixes, which LMetric finds; this trace tells none",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        rates = (130, 150, 190) if runner.quick else range(130, 201, 10)
        seeds = (1, 2, 3) if runner.quick else (1, 2, 3, 4, 5)
        sets = ("duration=12s", "warmup=4s") if runner.quick else ()
        routers = {"policy.router": self.routers}
        metrics = ("attainment", "ttft_s.mean", "e2e_s.mean")
        curves = runner.sweep(
            self.scenario,
            {**routers, "workload.chat.rate": [f"{rate}/s" for rate in rates]},
            seeds=seeds,
            metrics=metrics,
            sets=sets,
        )
        knees = runner.highest(
            self.scenario,
            "workload.chat.rate",
            ("140/s", "220/s"),
            routers,
            seeds=seeds,
            metric="attainment",
            at_least=self.level,
            within=0.06,
            sets=sets,
        ).replace({"metric": {"highest": "rate@90"}})
        frame = pd.concat([curves, knees], ignore_index=True)
        return frame.rename(columns={"policy.router": "router", "workload.chat.rate": "rate_per_s"})

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        grid = canvas.add_gridspec(2, 1, height_ratios=(2.1, 1), left=0.225, right=0.97, top=0.975, bottom=0.12, hspace=0.09)
        top = canvas.add_subplot(grid[0])
        strip = canvas.add_subplot(grid[1], sharex=top)
        looks = {router: series_look(i, theme) for i, router in enumerate(self.routers)}
        for router in self.routers:
            curve = curve_over_seeds(frame[(frame["router"] == router) & (frame["metric"] == "attainment")], "rate_per_s")
            top.errorbar(curve.index, 100 * curve["mean"], 100 * error_bars(curve, 0.0, 1.0), elinewidth=0.8, **looks[router])
        level = 100 * self.level
        top.axhline(level, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        top.annotate(f"{level:.0f} %", (0, level), **beside(3, -2, ("axes fraction", "data")), va="top", color=theme.muted, size=7)
        top.set_ylim(0, 102)
        top.set_ylabel("requests that meet their SLO (%)")
        top.tick_params(labelbottom=False)
        self._draw_knees(frame, strip, top, looks, theme)
        strip.set_xlabel("offered rate (requests/s)")

    def _draw_knees(self, frame: DataFrame, strip: Any, top: Any, looks: dict[str, dict[str, Any]], theme: Theme) -> None:
        """One row per router, the best on top: its name, rate@90 in figures and as a point, and a thread up to the curve."""
        knees = {router: over_seeds(self._knee(frame, router)) for router in self.routers}
        order = sorted(self.routers, key=lambda router: knees[router].value or 0.0)
        known = [knee.value for knee in knees.values() if knee.value is not None]
        limits = strip.get_xlim()
        roomy_left = not known or min(known) > sum(limits) / 2
        place, shift, side = (0, 3, "left") if roomy_left else (1, -1, "right")
        where = beside(shift, 0, ("axes fraction", "data"))
        for row, router in enumerate(order):
            knee, look = knees[router], looks[router]
            strip.annotate(knee.text(), (place, row), **where, ha=side, va="center_baseline", size=7)
            if knee.value is None:
                continue
            lo, hi = (knee.value if end is None else end for end in (knee.lo, knee.hi))
            bars = [[knee.value - lo], [hi - knee.value]]
            strip.errorbar([knee.value], [row], xerr=bars, elinewidth=1.2, **{**look, "linestyle": "none"})
            for axes, ends in ((strip, (row, len(order) + 0.5)), (top, (0, 100 * self.level))):
                axes.plot([knee.value] * 2, ends, color=look["color"], linewidth=0.5, linestyle=(0, (1, 1.5)), zorder=0)
        heading = f"rate@{100 * self.level:.0f}"
        strip.annotate(heading, (place, len(order)), **where, ha=side, va="center_baseline", size=7, color=theme.muted)
        strip.set_xlim(limits)
        strip.set_ylim(-0.6, len(order) + 0.5)
        strip.set_yticks(range(len(order)), order)
        for tick, router in zip(strip.get_yticklabels(), order, strict=True):
            tick.set_color(looks[router]["color"])
        strip.tick_params(axis="y", length=0)
        strip.grid(axis="y", visible=False)
        strip.spines["left"].set_visible(False)

    def _rate_ratio(self, frame: DataFrame, above: str, below: str) -> Measured:
        return ratio_over_seeds(self._knee(frame, above), self._knee(frame, below))

    @staticmethod
    def _knee(frame: DataFrame, router: str) -> Series[Any]:
        rows = frame[(frame["router"] == router) & (frame["metric"] == "rate@90")]
        return rows.set_index("seed")["value"]

    @staticmethod
    def _at(frame: DataFrame, metric: str, router: str, rate_per_s: float = 150.0) -> Series[Any]:
        rows = frame[(frame["router"] == router) & (frame["metric"] == metric) & (frame["rate_per_s"] == rate_per_s)]
        return rows.set_index("seed")["value"]


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
            ),
            Expectation(
                "highest throughput, budget 512 over 8192",
                "≤ 1: small chunks cost some throughput",
                SARATHI,
                lambda frame: ratio_over_seeds(self._peak(frame, "512"), self._peak(frame, "8192")),
                Band(high=1),
            ),
            Expectation(
                "p99 ITL at 64 in flight, budget 2048 over 8192",
                "< 1: smaller values achieve better ITL",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "itl_s.p99", "2048", "8192"),
                Band(high=1),
            ),
            Expectation(
                "mean TTFT at 64 in flight, budget 8192 over 2048",
                "< 1: higher values achieve better TTFT",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "ttft_s.mean", "8192", "2048"),
                Band(high=1),
            ),
            Expectation(
                "highest throughput, budget 8192 over 2048",
                "≥ 1: for optimal throughput more than 8192, for small models on large GPUs",
                VLLM_DOCS,
                lambda frame: ratio_over_seeds(self._peak(frame, "8192"), self._peak(frame, "2048")),
                Band(low=1),
            ),
            Expectation(
                "throughput at 64 in flight, budget 8192 over 2048",
                "≥ 1: the same advice, at less than the highest load",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "throughput_tok_s", "8192", "2048"),
                Band(low=1),
                why="row added after a first look at the data",
            ),
            Expectation(
                "throughput at 64 in flight, Sarathi with 8192 over vLLM",
                "1: vLLM's chunked prefill with that budget",
                VLLM_DOCS,
                lambda frame: self._ratio(frame, "throughput_tok_s", "8192", self.vllm),
                Band(0.999, 1.001),
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
        frame = runner.sweep(self.scenario, axes, seeds=seeds, metrics=metrics, sets=sets)
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
        axes.annotate(f"{curve.index[-1]}", (last["x"], last["y"]), **beside(0, 5), ha="center", va="bottom", **words)

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
