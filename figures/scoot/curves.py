"""How fast studies find something better than the default: best so far, and hypervolume, against observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.frame import Source
from figures.paper import DOUBLE_IN
from figures.reproduction import Band, Expectation, Measured
from figures.runner import Runner
from figures.scoot import outcomes
from figures.scoot.drawing import draw_curves, legend, panels
from figures.scoot.studies import COMPARED, INTEGERS, LATENCIES, LATER_SEEDS, SEEDS, THROUGHPUT
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

PAPER = "Cheng et al., SCOOT, WWW '25, arXiv 2408.04323"
_LINES = tuple(name for name in COMPARED if name != "auto-tune")


class Throughput:
    """Best throughput so far over the default's, per service and sampler."""

    name = "scoot-throughput"
    title = "Best throughput so far against observations, six samplers on four services"
    source = Source(PAPER, "Figs. 4 and 7")
    size = (DOUBLE_IN, 2.5)
    caption = (
        "Throughput of the best trial yet over the default configuration's, which is the first observation; median "
        "over seeds, bands are quartiles. In a closed loop of 128 requests per GPU. auto-tune is vLLM's own script: it "
        "stops by itself. Suggestions of all samplers are repaired to keep vLLM's known rules, and "
        "max_num_batched_tokens takes multiples of a tile of 256 rows. The table's final values are the worst of three "
        "re-tests of the best that survives them."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            *(self._lead(service) for service in outcomes.SERVICES),
            *(
                Expectation(
                    f"services of four on which SCOOT's median final value is at least every baseline's, {which}",
                    "4: SCOOT ≥ all",
                    PAPER,
                    lambda frame, metric=metric, seeds=seeds: outcomes.resampled(self._tables(frame, metric, seeds), outcomes.wins),
                    Band(low=3),
                    f"the bar is 3 of 4; {why}",
                )
                for which, metric, seeds, why in (
                    ("all seeds", "final", (*SEEDS, *LATER_SEEDS), "interval by bootstrap over seeds"),
                    ("the first ten seeds", "final", SEEDS, "the row as it was before there were others"),
                    ("the later seeds", "final", LATER_SEEDS, "their number was fixed before one was run"),
                    ("the first ten, no second choices", "final-first", SEEDS, "a best that dies when tested again has 0"),
                    ("max_num_batched_tokens in whole numbers", "final-integers", SEEDS, "the first comparison, as in the paper"),
                )
            ),
            Expectation(
                "the same of all seeds without vLLM's own tuning script",
                "4: SCOOT ≥ all; the paper does not compare with the script",
                PAPER,
                lambda frame: outcomes.resampled(outcomes.without(self._tables(frame, "final"), "auto-tune"), outcomes.wins),
                Band(low=3),
                "row written after the results had been seen; the bar is 3 of 4",
            ),
            Expectation(
                "largest median gain over today's default",
                "up to +68.3 % over vLLM 0.4.2's default",
                PAPER,
                lambda frame: self._gain(frame, "final-default"),
                why="another default: vLLM has chunked prefill and prefix caching on by now",
            ),
            Expectation(
                "largest median gain over the default of vLLM 0.4.2",
                "up to +68.3 %",
                PAPER,
                lambda frame: self._gain(frame, "final-0.4.2"),
                why="other services, GPUs and knobs; the old default's values in the simulator of today's engine",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        """Rows ``best`` (%, per observation) and, in req/s, the worst of the re-tests: ``final``, ``final-first`` (no second choice
        where the best dies), ``final-integers`` of the space of whole numbers, ``final-default`` and ``final-0.4.2``."""
        import pandas as pd

        rows = outcomes.rows(runner, THROUGHPUT, COMPARED)
        trials = outcomes.QUICK_TRIALS if runner.quick else outcomes.TRIALS
        found = [outcomes.curves(rows, outcomes.best_so_far, trials).assign(metric="best")]
        for kind, metric in (("retest", "final"), ("retest-default", "final-default"), ("retest-0.4.2", "final-0.4.2")):
            found.append(outcomes.finals(rows, kind).assign(metric=metric))
        found.append(outcomes.first_choices(rows).assign(metric="final-first"))
        former = outcomes.rows(runner, THROUGHPUT, COMPARED, space=INTEGERS)
        found.append(outcomes.finals(former).assign(metric="final-integers"))
        return pd.concat(found, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        best = frame[frame["metric"] == "best"]
        services = [service for service in outcomes.SERVICES if service in set(best["service"])]
        made = panels(canvas, services, left=0.075, right=0.99, top=0.9, bottom=0.29, wspace=0.28)
        for axes, service in zip(made, services, strict=True):
            draw_curves(axes, best[best["service"] == service], COMPARED, theme)
            axes.set_xlabel("observations")
        made[0].set_ylabel("gain over default (%)")
        legend(canvas, made[0], len(COMPARED))

    def _lead(self, service: str) -> Expectation:
        return Expectation(
            f"median final throughput, SCOOT over the best baseline, {service.upper()}",
            "≥ 1",
            PAPER,
            lambda frame: outcomes.resampled([outcomes.by_sampler(frame[frame["metric"] == "final"], service)], outcomes.lead),
            Band(low=1),
        )

    @staticmethod
    def _tables(frame: DataFrame, metric: str, seeds: Sequence[int] = (*SEEDS, *LATER_SEEDS)) -> list[DataFrame]:
        kept = frame[(frame["metric"] == metric) & frame["seed"].isin(seeds)]
        return [outcomes.by_sampler(kept, service) for service in outcomes.SERVICES if service in set(kept["service"])]

    def _gain(self, frame: DataFrame, base: str) -> Measured:
        """Of the service on which it is largest."""
        found = []
        for service in sorted(set(frame["service"])):
            ours, theirs = (
                frame[(frame["metric"] == metric) & (frame["service"] == service) & (frame["sampler"] == "scoot")].set_index("seed")
                for metric in ("final", base)
            )
            table = (ours["value"] / theirs["value"]).to_frame("ratio").dropna()
            found.append(outcomes.resampled([table], lambda medians: 100 * (medians[0]["ratio"] - 1)))
        best = max(found, key=lambda one: one.value or 0.0)
        return Measured(best.value, best.lo, best.hi, best.seeds, "in %")


class Latencies:
    """Hypervolume of TTFT and TPOT, per service and sampler."""

    name = "scoot-hypervolume"
    title = "Hypervolume of TTFT and TPOT against observations, five samplers on four services"
    source = Source(PAPER, "Figs. 6 and 7")
    size = (DOUBLE_IN, 2.5)
    caption = (
        "The share of the rectangle below the default configuration's mean TTFT and mean TPOT that the trials "
        "dominate; median over seeds, bands are quartiles. 300 requests with Poisson arrivals at about 0.6 times what "
        "the default configuration serves."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        leads = [
            Expectation(
                f"median final hypervolume in points, SCOOT less the best baseline, {service.upper()}",
                "≥ 0",
                PAPER,
                lambda frame, service=service: outcomes.resampled([outcomes.by_sampler(_last(frame), service)], outcomes.margin),
                Band(low=0),
            )
            for service in outcomes.SERVICES
        ]
        count = Expectation(
            "services of four on which SCOOT's median hypervolume is at least every baseline's",
            "4: SCOOT dominates",
            PAPER,
            lambda frame: outcomes.resampled(
                [outcomes.by_sampler(_last(frame), service) for service in sorted(set(frame["service"]))], outcomes.wins
            ),
            Band(low=3),
            "the bar is 3 of 4; interval by bootstrap over seeds",
        )
        return (*leads, count)

    def data(self, runner: Runner) -> DataFrame:
        rows = outcomes.rows(runner, LATENCIES, _LINES)
        return outcomes.curves(rows, outcomes.volume, outcomes.QUICK_TRIALS if runner.quick else outcomes.TRIALS)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        services = [service for service in outcomes.SERVICES if service in set(frame["service"])]
        made = panels(canvas, services, left=0.075, right=0.99, top=0.9, bottom=0.29, wspace=0.28)
        for axes, service in zip(made, services, strict=True):
            draw_curves(axes, frame[frame["service"] == service], COMPARED, theme)
            axes.set_xlabel("observations")
        made[0].set_ylabel("hypervolume (%)")
        legend(canvas, made[0], len(_LINES))


def _last(frame: DataFrame) -> DataFrame:
    return frame[frame["observations"] == frame["observations"].max()]
