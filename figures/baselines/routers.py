"""What routers are worth: attainment against offered rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.baselines import SECONDARY, SETTINGS_AFTER
from figures.frame import SCENARIOS, Source
from figures.paper import SINGLE_IN, beside, error_bars, series_look
from figures.reproduction import Band, Expectation, Measured, curve_over_seeds, over_seeds, ratio_over_seeds
from figures.runner import Highest, Runner, Sweep
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MITZENMACHER = "Mitzenmacher, The power of two choices in randomized load balancing, IEEE TPDS 12(10), 2001"
LIU_TOWSLEY = "Liu and Towsley, Optimality of the round-robin routing policy, J. Appl. Prob. 31(2), 1994"
LMETRIC = "Zhang et al., LMetric, OSDI '26, arXiv 2603.15202, abstract"


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
                SETTINGS_AFTER,
            ),
            Expectation(
                "rate@90, least loaded over power of two",
                "≥ 1: more choices than two gain a constant factor only",
                MITZENMACHER,
                lambda frame: self._rate_ratio(frame, "least-loaded", "power-of-two"),
                Band(low=1),
                SETTINGS_AFTER,
            ),
            Expectation(
                "rate@90, round robin over random",
                "> 1: round robin is best of all that see no state",
                LIU_TOWSLEY,
                lambda frame: self._rate_ratio(frame, "round-robin", "random"),
                Band(low=1),
                f"{SECONDARY}; shown for response times of single servers, taken here as one on attainment; {SETTINGS_AFTER}",
            ),
            Expectation(
                "mean time in system at 150/s, power of two over random",
                "0.26 at 90 % load",
                MITZENMACHER,
                lambda frame: self._mean_ratio(frame, "e2e_s.mean", "power-of-two", "random"),
                why="0.26 is the paper's limit, Σ λ^(2^i − 2) against 1 / (1 − λ), for servers that serve one customer at a time; "
                "an engine batches, and time in system is mostly decoding",
            ),
            Expectation(
                "mean TTFT at 150/s, LMetric over least loaded",
                "0.08 (against vLLM's router)",
                LMETRIC,
                lambda frame: self._mean_ratio(frame, "ttft_s.mean", "lmetric", "least-loaded"),
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
            Sweep(self.scenario, {**routers, "workload.chat.rate": [f"{rate}/s" for rate in rates]}, seeds, metrics, sets)
        )
        knees = runner.highest(
            Highest(
                self.scenario,
                "workload.chat.rate",
                ("140/s", "220/s"),
                routers,
                seeds,
                "attainment",
                at_least=self.level,
                within=0.06,
                sets=sets,
            )
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

    def _mean_ratio(self, frame: DataFrame, metric: str, above: str, below: str) -> Measured:
        return ratio_over_seeds(self._at(frame, metric, above), self._at(frame, metric, below))

    @staticmethod
    def _knee(frame: DataFrame, router: str) -> Series[Any]:
        rows = frame[(frame["router"] == router) & (frame["metric"] == "rate@90")]
        return rows.set_index("seed")["value"]

    @staticmethod
    def _at(frame: DataFrame, metric: str, router: str, rate_per_s: float = 150.0) -> Series[Any]:
        rows = frame[(frame["router"] == router) & (frame["metric"] == metric) & (frame["rate_per_s"] == rate_per_s)]
        return rows.set_index("seed")["value"]
