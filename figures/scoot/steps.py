"""Why a knob takes multiples of a tile: over whole numbers its peaks are narrower than any model of thirty trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import Source
from figures.paper import DOUBLE_IN
from figures.reproduction import Expectation, Measured, over_seeds
from figures.runner import Runner
from figures.scoot import outcomes
from figures.scoot.curves import PAPER
from figures.scoot.drawing import panels
from figures.scoot.studies import COMPARED, INTEGERS, RETESTS, THROUGHPUT, Asked, box_of, space_for
from figures.style import Theme
from figures.tuning.knobs import present
from policies.scoot.autotune import BATCHED_TOKENS
from policies.scoot.space import Config
from traces.scenario import load_scenario

if TYPE_CHECKING:
    from pandas import DataFrame

_KNOB = "max_num_batched_tokens"
_SERVICES = ("cls", "rec")
_EDGES = (512, 1024, 1792, 2048)
"""Where the step times of Llama-3.1 8B on an L40S jump, by the operator tables that its fingerprint is made of."""
_LOW, _HIGH = 256, 4096
_SEED = 1
_NEAR = 1.0
"""A point is near the best of a curve within so many percentage points."""


class Steps:
    """Throughput against tokens per step, all else at the default; and how far studies end from the best that is known."""

    name = "scoot-steps"
    title = "Throughput against max_num_batched_tokens, all else at the default: two services on L40S"
    source = Source(PAPER, "no figure of the paper")
    size = (DOUBLE_IN, 2.3)
    caption = (
        "Gain over the default configuration, one knob varied, one seed, the same traffic for all points. Dots: the values "
        "that the knob takes; circles: those that vLLM's auto_tune tries. In the L40S's operator tables a step of 1025 tokens "
        "takes 24 % longer than one of 1024: matrix products are done in tiles, and peaks end where the last one is full. "
        "Table: how far studies end from the best configuration known to the record, of either space, and by how much a best "
        "trial's own traffic flattered it."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        unsaid, why = "nothing is said of it", "to see how much of what is missing is search and how much luck"
        edges = (
            Expectation(
                "change of throughput from 1024 to 1025 tokens per step, CLS, in points",
                unsaid,
                PAPER,
                lambda frame: Measured(_at(frame, 1025) - _at(frame, 1024)),
                why="of the L40S's operator tables; one seed",
            ),
            Expectation(
                "share of the knob's logarithmic axis that is within 1 point of the best, CLS, in %",
                unsaid,
                PAPER,
                lambda frame: Measured(_share(frame)),
                why="all other knobs at the default; one seed",
            ),
            Expectation(
                "share of the knob's values up to 4096 that are within 1 point of the best of the curve, CLS, in %",
                unsaid,
                PAPER,
                lambda frame: Measured(_levels_near(frame)),
                why="likewise",
            ),
        )
        gaps = (
            Expectation(
                f"{text}, {service.upper()}, in points of gain",
                unsaid,
                PAPER,
                _over_seeds(metric, service),
                why=why,
            )
            for service in outcomes.SERVICES
            for metric, text in (
                ("gap", "SCOOT's best below the best known, both tested again"),
                ("luck", "SCOOT's best trial above its re-tests"),
            )
        )
        return (*edges, *gaps)

    def data(self, runner: Runner) -> DataFrame:
        """Rows ``curve`` (tokens, gain in %), and ``gap`` and ``luck`` per service and seed."""
        import pandas as pd

        services = _SERVICES[:1] if runner.quick else _SERVICES
        spread = np.geomspace(_LOW, _HIGH, 9 if runner.quick else 25).astype(int).tolist()
        tokens = sorted({*spread, *_levels(), *_around()})
        found = [_curve(service, tokens) for service in services]
        runner.rest_on(f"{len(tokens)} simulations per service for the curves.", (_SEED,))
        former = outcomes.rows(runner, THROUGHPUT, COMPARED, space=INTEGERS)
        found.append(missing(outcomes.rows(runner, THROUGHPUT, COMPARED), former))
        return pd.concat(found, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        curves = frame[frame["metric"] == "curve"]
        services = [service for service in _SERVICES if service in set(curves["service"])]
        made = panels(canvas, services, left=0.075, right=0.99, top=0.9, bottom=0.19, wspace=0.15)
        for axes, service in zip(made, services, strict=True):
            curve = curves[curves["service"] == service]
            axes.axhline(0, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
            axes.plot(curve["tokens"], curve["value"], color=theme.series[0], linewidth=1.2)
            levels = curve[curve["tokens"].isin(_levels())]
            axes.plot(levels["tokens"], levels["value"], ".", color=theme.series[0], markersize=6, zorder=3)
            script = curve[curve["tokens"].isin(BATCHED_TOKENS)]
            axes.plot(script["tokens"], script["value"], "o", color=theme.series[1], markersize=5, fillstyle="none", zorder=4)
            axes.set_xscale("log", base=2)
            axes.set_xticks([256, 512, 1024, 2048, 4096], ["256", "512", "1024", "2048", "4096"])
            axes.minorticks_off()
            axes.set_xlabel(_KNOB)
        made[0].set_ylabel("gain over default (%)")


def _levels() -> list[int]:
    """Those of the knob's values that the curves reach."""
    knobs = {knob.name: knob for knob in space_for(Asked(_SERVICES[0], THROUGHPUT, "", _SEED)).knobs}
    return [value for value in getattr(knobs[_KNOB], "values", ()) if _LOW <= value <= _HIGH]


def _around() -> list[int]:
    return [*BATCHED_TOKENS, *(tokens + more for tokens in _EDGES for more in (0, 1))]


def _default(service: str) -> Config:
    asked = Asked(service, THROUGHPUT, "", _SEED)
    return present(load_scenario(asked.scenario, asked.sets))


def _curve(service: str, tokens: Sequence[int]) -> DataFrame:
    import pandas as pd

    box, default = box_of(service, THROUGHPUT), _default(service)
    values = [box({**default, _KNOB: one}, _SEED).values for one in (default[_KNOB], *tokens)]
    known = np.array([np.nan if value is None else value[0] for value in values])
    gain = 100 * (known[1:] / known[0] - 1)
    return pd.DataFrame({"metric": "curve", "service": service, "tokens": tokens, "value": gain})


def missing(rows: DataFrame, others: DataFrame) -> DataFrame:
    """Of SCOOT's studies: by how much the best known configuration of a service, by the mean of its re-tests in whichever study,
    of ``others`` too, beats the study's; and what the study's best trial had above the mean of its own re-tests. In % of the
    default's throughput."""
    import pandas as pd

    found = []
    knobs = list(_default(rows["service"].iloc[0]))
    for service, part in rows.groupby("service", sort=False):
        base = part[part["kind"] == "retest-default"]["first"].mean()
        tested = pd.concat([part, others[others["service"] == service]])
        tested = tested[tested["kind"] == "retest"]
        known = tested.groupby(knobs, sort=False)["first"].agg(["mean", "count"])
        best = known[known["count"] >= RETESTS]["mean"].max()
        ours = part[part["sampler"] == "scoot"]
        again = ours[ours["kind"] == "retest"].groupby("seed")["first"].mean()
        seen = ours[ours["kind"] == "trial"].groupby("seed")["first"].max()
        for metric, values in (("gap", best - again), ("luck", seen - again)):
            table = (100 * values / base).rename("value").reset_index()
            found.append(table.assign(metric=metric, service=service))
    return pd.concat(found, ignore_index=True)


def _of(frame: DataFrame, metric: str, service: str) -> DataFrame:
    kept: DataFrame = frame[(frame["metric"] == metric) & (frame["service"] == service)]
    return kept


def _over_seeds(metric: str, service: str) -> Callable[[DataFrame], Measured]:
    return lambda frame: over_seeds(_of(frame, metric, service)["value"])


def _at(frame: DataFrame, tokens: int) -> float:
    curve = _of(frame, "curve", _SERVICES[0])
    return float(curve[curve["tokens"] == tokens]["value"].iloc[0])


def _share(frame: DataFrame) -> float:
    """By linear interpolation between the curve's points, on the axis from its first to its last."""
    curve = _of(frame, "curve", _SERVICES[0])
    axis = np.log(curve["tokens"].to_numpy(dtype=float))
    fine = np.linspace(axis[0], axis[-1], 20_001)
    values = np.interp(fine, axis, curve["value"])
    return 100 * float((values >= curve["value"].max() - _NEAR).mean())


def _levels_near(frame: DataFrame) -> float:
    curve = _of(frame, "curve", _SERVICES[0])
    levels = curve[curve["tokens"].isin(_levels())]["value"]
    return 100 * float((levels >= curve["value"].max() - _NEAR).mean())
