"""SCOOT and each baseline, seed by seed: which of the two ended higher under the same traffic, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.paper import DOUBLE_IN
from figures.reproduction import Band, Expectation, Measured
from figures.runner import Runner
from figures.scoot import outcomes
from figures.scoot.curves import PAPER
from figures.scoot.drawing import panels
from figures.scoot.studies import COMPARED, SEEDS, THROUGHPUT
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_LEVEL = 1.0
"""Two studies that end within so many per cent of each other are level."""
_STATED = "the paper has medians, and not by seed"


class Pairs:
    """Final throughput of SCOOT over each baseline's."""

    name = "scoot-pairs"
    title = "Final throughput of SCOOT over each baseline's, paired by seed"
    source = Source(PAPER, "Fig. 4")
    size = (DOUBLE_IN, 2.1)
    caption = (
        "The worst of SCOOT's three re-tests over the baseline's, less 1; a dot per seed, under which both had the same "
        "traffic. Marks and bars: median over seeds and its exact 95 % interval, between two order statistics. Between −1 and 1 "
        "the axis is linear, beyond logarithmic. SCOOT and vanilla-bo are the same until an engine dies."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        pairs = [
            Expectation(
                f"final throughput, SCOOT over {name} less 1, median over seeds, {service.upper()}, in %",
                "≥ 0",
                PAPER,
                lambda frame, service=service, name=name: _over(frame, service, name),
                Band(low=0),
                _STATED,
            )
            for service in outcomes.SERVICES
            for name in outcomes.BASELINES
        ]
        counts = [
            Expectation(
                f"services of four on which these medians are {least:g} % or more for every baseline, {which}".replace("-", "−"),
                "4: SCOOT ≥ all",
                PAPER,
                lambda frame, kept=kept, least=least: _services(frame[kept(frame)], least),
                Band(low=3),
                "lower end: services whose intervals are all above; upper: none is below" + why,
            )
            for which, kept, since in (
                ("all seeds", lambda frame: frame["seed"] > 0, ""),
                ("seeds 11 and on alone", lambda frame: ~frame["seed"].isin(SEEDS), "; seeds fixed before they were run"),
            )
            for least, why in (
                (0.0, since),
                (-_LEVEL, f"{since}; what counts as level was set when ten seeds had been seen, before the others were run"),
            )
        ]
        return (*pairs, *counts)

    def data(self, runner: Runner) -> DataFrame:
        """Rows of (service, sampler, seed): ``value`` is SCOOT's final throughput over the sampler's less 1, in %."""
        finals = outcomes.finals(outcomes.rows(runner, THROUGHPUT, COMPARED))
        table = finals.pivot(index=["service", "seed"], columns="sampler", values="value")
        over = table[[name for name in outcomes.BASELINES if name in table]].rdiv(table["scoot"], axis=0)
        return (100 * (over - 1)).melt(ignore_index=False, var_name="sampler").reset_index()

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        services = [service for service in outcomes.SERVICES if service in set(frame["service"])]
        names = [name for name in reversed(outcomes.BASELINES) if name in set(frame["sampler"])]
        made = panels(canvas, services, left=0.11, right=0.99, top=0.88, bottom=0.2, wspace=0.12)
        widest = 1.3 * float(np.nanmax(np.abs(frame["value"])))
        for axes, service in zip(made, services, strict=True):
            axes.axvline(0, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
            for row, name in enumerate(names):
                values = by_seed(frame, service, name)
                axes.plot(values, row + np.linspace(-0.25, 0.25, len(values)), ".", markersize=2, color=theme.muted)
                median, lo, hi = median_between(values)
                axes.plot(
                    [median if lo is None else lo, median if hi is None else hi], [row, row], color=theme.series[0], linewidth=2
                )
                axes.plot(median, row, "o", color=theme.series[0], markersize=4, zorder=3)
            axes.set_xscale("symlog", linthresh=1, linscale=0.6)
            axes.set_xlim(-widest, widest)
            axes.set_xticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
            axes.minorticks_off()
            axes.set_yticks(range(len(names)), names if service == services[0] else [])
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="y", visible=False)
            axes.set_xlabel("SCOOT over it (%)")


def median_between(values: np.ndarray) -> tuple[float, float | None, float | None]:
    """The median and its exact 95 % interval, of whatever distribution: the sign test's, between two order statistics; ``None``
    where there are too few for one."""
    from scipy.stats import binom

    ordered, n = np.sort(values), len(values)
    below = int(binom.ppf(0.025, n, 0.5))  # the largest number of values that is rarely below the median is one less
    median = float(np.median(ordered))
    return (median, float(ordered[below - 1]), float(ordered[n - below])) if below else (median, None, None)


def by_seed(frame: DataFrame, service: str, name: str) -> np.ndarray:
    """SCOOT over the baseline ``name`` less 1, in %, in the order of the seeds."""
    kept = frame[(frame["service"] == service) & (frame["sampler"] == name)]
    found: np.ndarray = kept.sort_values("seed")["value"].dropna().to_numpy(dtype=float)
    return found


def _over(frame: DataFrame, service: str, name: str) -> Measured:
    from scipy.stats import beta

    values = by_seed(frame, service, name)
    n = len(values)
    if not n:
        return Measured(None)
    median, lo, hi = median_between(values)
    least, most = int((values >= 0).sum()), int((values > 0).sum())
    ends = (beta.ppf(0.025, least, n - least + 1) if least else 0.0, beta.ppf(0.975, least + 1, n - least) if least < n else 1.0)
    share = f"{100 * least / n:.0f} % ({100 * ends[0]:.0f} to {100 * ends[1]:.0f} %)"
    return Measured(median, lo, hi, n, f"SCOOT is ahead on {most}, level on {least - most} and behind on {n - least}: ≥ on {share}")


def _services(frame: DataFrame, least: float) -> Measured:
    """On how many services all medians are at least ``least``: by the medians, by their lower ends, by their upper ends."""
    passed = []
    for service in outcomes.SERVICES:
        values = [by_seed(frame, service, name) for name in outcomes.BASELINES]
        if not all(map(len, values)):
            return Measured(None)
        told = np.array([median_between(one) for one in values], dtype=float)  # no interval is NaN, which is at least nothing
        passed.append((told >= least).all(axis=0))
    value, lo, hi = np.sum(passed, axis=0).astype(float).tolist()
    return Measured(value, lo, hi, frame["seed"].nunique())
