"""A sweep's table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from figures.console import raised
from figures.studies.columns import GAP, UNITS, cell_of, fitted, headings, label, scale_of, written
from figures.tables import Cell, Footnotes, letter
from sim.sweep import EVERYONE, PointResult, SweepResult, coordinates, estimate
from traces.errors import InputError
from traces.intervals import Estimate
from traces.pooling import pooled
from traces.scenario.document import nearest

METRICS_SHOWN = ("attainment", "goodput_req_s", "ttft_s.p99", "tpot_s.p99")


def parse_metrics(names: Sequence[str]) -> list[tuple[str, str]]:
    """(metric, group) pairs from `ttft_s.p99` and, of one tier, `attainment@premium`.

    Raises:
        InputError: there is no such metric.
    """
    chosen = []
    for name in names:
        metric, _, group = name.partition("@")
        if metric not in UNITS:
            raise InputError(f"--metric {name}: there is no metric `{metric}`; {nearest(metric, list(UNITS))}")
        chosen.append((metric, group or EVERYONE))
    return chosen


def print_sweep(result: SweepResult, metrics: Sequence[tuple[str, str]], console: Console) -> None:
    """A line per combination of values, each metric with its 95 % interval over all seeds; 80 columns unless it is a terminal."""
    console = fitted(console)
    keys = result.axes
    combinations: dict[tuple[str, ...], list[PointResult]] = {}
    for item in result.results:
        combinations.setdefault(item.point.sets, []).append(item)
    notes = Footnotes()
    axes = [
        [heading, *(written(runs[0].point, key) for runs in combinations.values())]
        for heading, key in zip(headings(keys), keys, strict=True)
    ]
    if axes:
        marks = [notes.mark(_caution(runs)) for runs in combinations.values()]
        axes[-1] = [axes[-1][0], *(f"{text}{raised(mark)}" for text, mark in zip(axes[-1][1:], marks, strict=True))]
    columns = [_column(metric, group, list(combinations.values()), notes) for metric, group in metrics]
    seeds = sorted({item.point.seed for item in result.results})
    for line in (
        Text(f"{_counted(len(combinations), 'point')} × {_counted(len(seeds), 'seed')}; 95 % intervals", "dim"),
        *_blocks(axes, columns, console.width),
        *(Text(f"{raised(letter(i))} {note}", "dim") for i, note in enumerate(notes.notes)),
    ):
        console.print(line, markup=False, highlight=False, overflow="fold")


def sweep_json(result: SweepResult, out: str | None) -> dict[str, Any]:
    """One object; points in the order in which they were asked for."""
    summaries = [(item, item.summary()) for item in result.results]
    return {
        "scenario": next((summary["scenario"] for _, summary in summaries if summary), None),
        "axes": result.axes,
        "points": [
            {"set": coordinates(item.point), "seed": item.point.seed, "point": item.key}
            | ({key: summary[key] for key in ("metrics", "tiers", "warnings")} if summary else {"faults": list(item.faults)})
            for item, summary in summaries
        ],
        "faults": result.faults,
        "warnings": list(result.warnings),
        "out": out,
    }


def _column(metric: str, group: str, rows: Sequence[Sequence[PointResult]], notes: Footnotes) -> list[str]:
    """Heading, unit and a text per row: values flush right, intervals flush left."""
    found = [_over_seeds(runs, metric, group) for runs in rows]
    scale = scale_of(metric, found)
    cells = [cell_of(e, scale, notes) for e in found]
    cells = [Cell("failed") if all(run.faults for run in runs) else c for runs, c in zip(rows, cells, strict=True)]
    blank = " " * any(c.mark for c in cells)
    values = [f"{c.text}{raised(c.mark) or blank}" for c in cells]
    left = max(map(len, values))
    name = label(metric) + ("" if group == EVERYONE else f" {group}")
    texts = [f"{value:>{left}} {c.interval}" for value, c in zip(values, cells, strict=True)]
    width = max(len(name), len(scale.unit), *map(len, texts))
    return [f"{text:{width}}" for text in (name, scale.unit, *texts)]


def _blocks(axes: Sequence[Sequence[str]], columns: Sequence[Sequence[str]], width: int) -> Iterator[Text]:
    """Lines of one table, or of several below each other, each with the axes, as wide as there is room."""
    stubs = [[heading, "", *rest] for heading, *rest in axes]
    sides = [max(map(len, column)) for column in stubs]
    room = width - sum(side + len(GAP) for side in sides)
    waiting = list(columns)
    while waiting:
        shown = [waiting.pop(0)]
        while waiting and sum(len(column[0]) + len(GAP) for column in (*shown, waiting[0])) <= room + len(GAP):
            shown.append(waiting.pop(0))
        left = [[f"{text:>{side}}" for text in column] for side, column in zip(sides, stubs, strict=True)]
        for i, parts in enumerate(zip(*left, *shown, strict=True)):
            line = GAP.join(parts).rstrip()
            if i != 1 or line:
                yield Text(line, "bold" if i == 0 else "dim" if i == 1 else "")
        if waiting:
            yield Text("")


def _over_seeds(runs: Sequence[PointResult], metric: str, group: str) -> Estimate:
    found = []
    for run in runs:
        summary = run.summary()
        if summary:
            groups = {EVERYONE: summary["metrics"], **summary["tiers"]}
            if group not in groups:
                raise InputError(f"--metric {metric}@{group}: there is no tier `{group}`; {nearest(group, list(groups))}")
            found.append(estimate(groups[group], metric))
    return pooled(metric, found)


def _counted(number: int, word: str) -> str:
    """``1 point``, ``2 points``."""
    return f"{number:,} {word}{'s' * (number != 1)}"


def _caution(runs: Sequence[PointResult]) -> str:
    """The kinds of warnings that these runs gave, without their figures, and how many failed."""
    failed = sum(bool(run.faults) for run in runs)
    kinds = {
        re.sub(r"\d[\d,.]*", "…", re.split(r" \(|:|;", warning)[0]) for run in runs for warning in run.summary().get("warnings", ())
    }
    return "; ".join([*([f"{failed} of {len(runs)} seeds failed"] if 0 < failed < len(runs) else []), *sorted(kinds)])
