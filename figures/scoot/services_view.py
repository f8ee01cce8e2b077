"""Why tuning is per service: how far TTFT and TPOT can fall, and which knobs matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.paper import DOUBLE_IN, SINGLE_IN, beside
from figures.reproduction import Expectation, Measured, over_seeds
from figures.runner import Runner
from figures.scoot import outcomes
from figures.scoot.curves import PAPER
from figures.scoot.drawing import TITLES
from figures.scoot.studies import LATENCIES, THROUGHPUT
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_CHANCE = ("random",)
_KNOBS = (
    "tensor_parallel",
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "long_prefill_token_threshold",
    "gpu_memory_utilization",
    "watermark",
)


class Relative:
    """TTFT and TPOT of the best compromise over the default's, per service."""

    name = "scoot-services"
    title = "TTFT and TPOT of SCOOT's best compromise, relative to the default configuration, per service"
    source = Source(PAPER, "Fig. 1")
    size = (SINGLE_IN, 2.2)
    caption = (
        "The trial with the lowest product of mean TTFT and mean TPOT, tested again three times under other traffic, "
        "over the default tested likewise (worst of each); a dot per seed, bars are medians."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return tuple(
            Expectation(
                f"lowest {label} relative to the default, over services",
                f"reduction by up to {most} %",
                PAPER,
                lambda frame, metric=metric: self._lowest(frame, metric),
                why="other services, GPUs and rates, and a default without chunked prefill in the paper",
            )
            for metric, label, most in (("ttft", "TTFT", "99.8"), ("tpot", "TPOT", "61.0"))
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        rows = outcomes.rows(runner, LATENCIES, ("scoot",))
        found = []
        for metric, column in (("ttft", "first"), ("tpot", "second")):
            ours, base = (
                rows[rows["kind"] == kind].groupby(["service", "seed"])[column].max() for kind in ("retest", "retest-default")
            )
            found.append((ours / base).rename("value").reset_index().assign(metric=metric))
        return pd.concat(found, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        axes = canvas.add_axes((0.14, 0.14, 0.84, 0.8))
        services = [service for service in outcomes.SERVICES if service in set(frame["service"])]
        for i, (metric, label) in enumerate((("ttft", "TTFT"), ("tpot", "TPOT"))):
            for place, service in enumerate(services):
                values = frame[(frame["service"] == service) & (frame["metric"] == metric)]["value"].to_numpy()
                at = place + 0.2 * (2 * i - 1)
                named = label if place == 0 else None
                axes.bar(at, np.median(values), width=0.36, color=theme.series[i], alpha=0.35, linewidth=0, label=named)
                axes.plot(at + np.linspace(-0.12, 0.12, len(values)), values, ".", markersize=2.5, color=theme.series[i])
        axes.axhline(1, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        axes.annotate("default", (0, 1), **beside(3, 2, ("axes fraction", "data")), size=7, color=theme.muted)
        axes.set_xticks(range(len(services)), [service.upper() for service in services])
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, 1.2 * max(1.0, float(frame["value"].max())))
        axes.set_ylabel("relative to the default")
        axes.legend(loc="upper left", ncol=2, fontsize=7)

    @staticmethod
    def _lowest(frame: DataFrame, metric: str) -> Measured:
        kept = frame[frame["metric"] == metric]
        found = [over_seeds(kept[kept["service"] == service]["value"], log=True) for service in sorted(set(kept["service"]))]
        return min(found, key=lambda one: one.value or np.inf)


class Importance:
    """How much each knob moves throughput, per service."""

    name = "scoot-knobs"
    title = "Importance of each knob for throughput, per service"
    source = Source(PAPER, "Fig. 2")
    size = (DOUBLE_IN, 2.3)
    caption = (
        "Permutation importance: by how much the error of a random forest that predicts log throughput grows when a "
        "knob's values are shuffled, as a share of all knobs' (%); fitted to half of the random sampler's surviving "
        "trials of all seeds, taken on the other half."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "different knobs that are the most important of some service, of four services",
                "best values differ between services",
                PAPER,
                lambda frame: Measured(float(frame.loc[frame.groupby("service")["value"].idxmax(), "knob"].nunique())),
                why="the paper shows values, this figure importance; a count without an interval",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        rows = outcomes.rows(runner, THROUGHPUT, _CHANCE)
        tried = rows[(rows["kind"] == "trial") & (rows["failure"] == "")]
        found = [
            pd.DataFrame({"service": service, "knob": _KNOBS, "value": _importances(part)})
            for service, part in tried.groupby("service", sort=False)
        ]
        return pd.concat(found, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        services = [service for service in outcomes.SERVICES if service in set(frame["service"])]
        grid = canvas.add_gridspec(1, len(services), left=0.24, right=0.99, top=0.9, bottom=0.17, wspace=0.12)
        order = frame.groupby("knob")["value"].mean().sort_values().index.tolist()
        for i, service in enumerate(services):
            axes = canvas.add_subplot(grid[i])
            axes.set_title(TITLES[service], loc="left", fontweight="bold", pad=4)
            values = frame[frame["service"] == service].set_index("knob")["value"].reindex(order)
            axes.barh(range(len(order)), values, height=0.6, color=theme.series[0], alpha=0.75)
            for row, value in enumerate(values):
                axes.annotate(f"{value:.0f}", (value, row), xytext=(2, 0), textcoords="offset points", va="center", size=6.5)
            axes.set_xlim(0, 1.2 * frame["value"].max())
            axes.set_xticks([0, 50])
            axes.set_yticks(range(len(order)), order if i == 0 else [])
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="y", visible=False)
            axes.set_xlabel("share (%)")


def _importances(tried: DataFrame) -> np.ndarray:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    known = tried[tried["first"] > 0]
    points = known[list(_KNOBS)].astype(float).to_numpy()
    values = np.log(known["first"].to_numpy(dtype=float))
    half = np.arange(len(points)) % 2 == 0
    forest = RandomForestRegressor(random_state=0, n_estimators=100).fit(points[half], values[half])
    found = permutation_importance(forest, points[~half], values[~half], n_repeats=10, random_state=0).importances_mean
    found = np.maximum(found, 0.0)
    shares: np.ndarray = 100 * found / max(found.sum(), 1e-9)
    return shares
