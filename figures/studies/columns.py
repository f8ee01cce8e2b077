"""What the tables of sweeps and searches share: units, cells, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from figures.tables import Cell, Footnotes, cell, share_cell
from figures.units import PERCENT, PLAIN, Scale, seconds_scale
from sim.goals import Verdict
from sim.sweep import Point
from traces.intervals import Estimate
from traces.metrics import METRICS

GAP = "  "
UNITS = {key: metric.unit for metric in METRICS for key in metric.keys}
_PLAIN_WIDTH = 80
_EXCURSIONS = re.compile(r"only about \d+ independent excursions?")
_STYLES: dict[str, str] = {Verdict.HELD: "green", Verdict.MISSED: "red", Verdict.OPEN: "yellow"}


def fitted(console: Console) -> Console:
    """The console at the width of its terminal, or at 80 columns where there is none."""
    return console if console.is_terminal else Console(file=console.file, width=_PLAIN_WIDTH)


def scale_of(metric: str, estimates: Sequence[Estimate]) -> Scale:
    """The unit in which a metric's figures are shown."""
    unit = UNITS[metric]
    if unit == "s":
        return seconds_scale([e.value for e in estimates])
    return PERCENT if unit == "1" else PLAIN if unit == "count" else Scale({"1/s": "req/s", "tokens/s": "tok/s"}.get(unit, unit))


def cell_of(estimate: Estimate, scale: Scale, notes: Footnotes) -> Cell:
    """A figure and its interval. Notes that differ in a count only are one note of the table."""
    estimate = replace(estimate, note=_EXCURSIONS.sub("few independent excursions", estimate.note))
    shown = share_cell(estimate, notes) if scale is PERCENT else cell(estimate, scale, notes)
    return Cell(shown.text.removesuffix(" %"), shown.interval, shown.mark) if scale is PERCENT else shown


def label(metric: str) -> str:
    """`TTFT p99`, `goodput`, `throughput input`."""
    name, _, statistic = metric.partition(".")
    for ending in ("_req_s", "_tok_s", "_s"):
        if name.endswith(ending):
            name = name.removesuffix(ending)
            break
    name = name.upper() if name in ("ttft", "tpot", "itl", "e2e") else name.replace("_", " ")
    return f"{name} {statistic}".strip()


def headings(keys: Sequence[str]) -> list[str]:
    """Each key's last words, as many as tell it from the others."""
    found = []
    for key in keys:
        words = key.split(".")
        others = [other.split(".") for other in keys if other != key]
        length = next(n for n in range(1, len(words) + 1) if n == len(words) or all(other[-n:] != words[-n:] for other in others))
        found.append(".".join(words[-length:]))
    return found


def written(point: Point, key: str) -> str:
    """The value as the user wrote it."""
    return next((text.partition("=")[2] for text in point.sets if text.partition("=")[0].strip() == key), "–")


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[Text]:
    """Lines of a table whose first row is its heading, in the colour of the verdict that a row may end with."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, row in enumerate(rows):
        texts = [
            f"{text:>{width}}" if j < 2 else f"{text:{width}}" for j, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield Text(GAP.join(texts).rstrip(), "bold" if i == 0 else _STYLES.get(row[-1], ""))
