"""The tables of ``docs/scoot.md``, from the record: ``python -m figures.scoot.tables`` prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from figures.runner import SweepRunner
from figures.scoot import outcomes
from figures.scoot.pairs import Pairs, by_seed, median_between
from figures.scoot.studies import COMPARED, INTEGERS, LATENCIES, SAMPLERS, SUFFIX, THROUGHPUT, UNRULED_BASELINES, WITHOUT_RULES

if TYPE_CHECKING:
    from pandas import DataFrame

_NAMES: Mapping[str, str] = {
    "scoot": "SCOOT",
    "vanilla-bo": "vanilla BO",
    "tpe": "TPE",
    "nsga2": "NSGA-II",
    "random": "random",
    "auto-tune": "vLLM's script",
}

Cells = Mapping[tuple[str, str], float]
"""(service, sampler) → value."""


def tables() -> Iterator[tuple[str, list[str]]]:
    """(what it shows, lines of Markdown) of each."""
    runner = SweepRunner()
    compared = outcomes.rows(runner, THROUGHPUT, COMPARED)
    yield "median gain over the default, %", _ranked(_gain(compared), COMPARED, "{:.1f}")
    yield "SCOOT over a baseline less 1, median over seeds, % (95 %); on how many seeds it is at least level", _paired(runner)
    whole = outcomes.rows(runner, THROUGHPUT, COMPARED, space=INTEGERS)
    yield "the same, max_num_batched_tokens in whole numbers", _ranked(_gain(whole), COMPARED, "{:.1f}")
    latencies = outcomes.rows(runner, LATENCIES, SAMPLERS)
    last = outcomes.curves(latencies, outcomes.volume).query("observations == observations.max()")
    yield "median hypervolume, %", _ranked(_over_seeds(last, "median"), SAMPLERS, "{:.2f}")
    crashed = outcomes.rows(runner, THROUGHPUT, (*SAMPLERS, WITHOUT_RULES, *UNRULED_BASELINES))
    yield "mean trials that did not survive, of 30: given the rules / not given them", _beside(outcomes.crashes(crashed))
    yield "mean share of those after the tenth success, %: likewise", _beside(outcomes.late_crashes(crashed))


def _gain(rows: DataFrame) -> Cells:
    index = ["service", "sampler", "seed"]
    ours, base = (outcomes.finals(rows, kind).set_index(index)["value"] for kind in ("retest", "retest-default"))
    return _over_seeds((100 * (ours / base - 1)).rename("value").reset_index(), "median")


def _over_seeds(frame: DataFrame, statistic: str) -> Cells:
    found: Cells = frame.groupby(["service", "sampler"])["value"].agg(statistic).to_dict()
    return found


def _ranked(cells: Cells, samplers: Sequence[str], form: str) -> list[str]:
    """The largest of a row in bold, and all that are printed like it."""

    def shown(service: str, sampler: str) -> str:
        texts = [form.format(cells[service, name] + 0.0) for name in samplers]
        text = form.format(cells[service, sampler] + 0.0)
        return f"**{text}**" if text == max(texts, key=float) else text

    return _lines(samplers, shown)


def _beside(frame: DataFrame) -> list[str]:
    cells = _over_seeds(frame, "mean")
    return _lines(SAMPLERS, lambda service, name: f"{cells[service, name]:.1f} / {cells[service, name + SUFFIX]:.1f}")


def _paired(runner: SweepRunner) -> list[str]:
    frame = Pairs().data(runner)

    def shown(service: str, name: str) -> str:
        values = by_seed(frame, service, name)
        median, *ends = (f"{end + 0.0:.1f}".replace("-", "−") for end in median_between(values) if end is not None)
        return f"{median} ({' to '.join(ends)}); {(values >= 0).sum()} of {len(values)}"

    return _lines(outcomes.BASELINES, shown)


def _lines(samplers: Sequence[str], shown: Callable[[str, str], str]) -> list[str]:
    heading = ["service", *(_NAMES[name] for name in samplers)]
    rows = [[service.upper(), *(shown(service, name) for name in samplers)] for service in outcomes.SERVICES]
    rule = "|---|" + "--|" * len(samplers)
    return [f"| {' | '.join(heading)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def main() -> None:
    """Print all."""
    for title, lines in tables():
        print("\n".join([title, "", *lines, ""]))


if __name__ == "__main__":
    main()
