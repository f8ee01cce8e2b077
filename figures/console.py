"""A run on one screen of a terminal: verdict, what it delivers, what binds, a table with a column per tier, warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.text import Text

from figures.headline import Standing, delivers, verdict, what_ran
from figures.tables import Cell, Footnotes, cell, letter, share_cell, tier_columns
from figures.units import PLAIN, Scale, count, seconds_scale
from traces.intervals import Estimate
from traces.metrics import Summary
from traces.record import Record
from traces.tables import OUTCOMES

_PLAIN_WIDTH = 80  # where output is no terminal, so that it does not depend on one
_STYLES = {Standing.MET: "bold green", Standing.MISSED: "bold red", Standing.OPEN: "bold yellow", Standing.NONE: "bold"}
_RAISED = str.maketrans("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ")
_GAP = "  "
_LATENCIES = (("TTFT", "ttft_s"), ("TPOT", "tpot_s"), ("E2E", "e2e_s"))


def print_summary(record: Record, summary: Summary, console: Console) -> None:
    """Verdict first, warnings last; 80 columns unless the terminal is another width. No number is ever cut."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_PLAIN_WIDTH)
    found = verdict(summary)
    notes = Footnotes()
    lines = [
        Text.assemble((f"{found.head}. ", _STYLES[found.standing]), found.sentence),
        Text.assemble(("Delivers: ", "bold"), delivers(summary) + "."),
    ]
    if summary.binding:
        lines.append(Text.assemble(("Binds: ", "bold"), summary.binding + "."))
    lines += [Text(what_ran(record), "dim"), Text("")]
    lines += _tables(tier_columns(summary), notes, console.width)
    lines += [Text(f"{raised(letter(i))} {note}", "dim") for i, note in enumerate(notes.notes)]
    lines.append(_fleet(summary))
    lines += [Text.assemble(("Warning: ", "bold yellow"), warning) for warning in summary.warnings]
    for line in lines:
        console.print(line, markup=False, highlight=False, overflow="fold")


def _fleet(summary: Summary) -> Text:
    metrics = summary.metrics
    words = []
    for label, key in (("busy", "busy"), ("KV memory", "kv_use.mean"), ("KV peak", "kv_use.max")):
        if metrics[key].value is not None:
            shown = share_cell(metrics[key], Footnotes())
            words.append(f"{label} {shown.text}" + (f" ({shown.interval})" if shown.interval else ""))
    words.append(f"{Scale('', 1 / 3600).number(metrics['gpu_s'].value)} GPU-hours in the measured window")
    return Text.assemble(("Engines: ", "bold"), ", ".join(words) + ".")


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    unit: str
    cells: Sequence[Cell]


def _rows(columns: Mapping[str, Mapping[str, Estimate]], notes: Footnotes) -> list[_Row]:
    groups = list(columns.values())
    rows = [
        _Row("attainment", "%", [_without_unit(share_cell(m["attainment"], notes)) for m in groups]),
        _Row("goodput", "req/s", [cell(m["goodput_req_s"], PLAIN, notes) for m in groups]),
        _Row("throughput", "tok/s", [cell(m["throughput_tok_s"], PLAIN, notes) for m in groups]),
    ]
    for label, key in _LATENCIES:
        scale = seconds_scale([m[f"{key}.{statistic}"].value for m in groups for statistic in ("p50", "p99")])
        for statistic in ("p50", "p99"):
            cells = [cell(m[f"{key}.{statistic}"], scale, notes) for m in groups]
            rows.append(_Row(f"{label} {statistic}", scale.unit, cells))
    for name in ("offered", *OUTCOMES):
        counts = [m[f"requests.{name}"].value for m in groups]
        if name in ("offered", "completed") or any(counts):
            rows.append(_Row(name, "", [Cell(count(number)) for number in counts]))
    return rows


def _without_unit(shown: Cell) -> Cell:
    return Cell(shown.text.removesuffix(" %"), shown.interval, shown.mark)


def _tables(columns: Mapping[str, Mapping[str, Estimate]], notes: Footnotes, width: int) -> Iterator[Text]:
    """Lines of one table, or of as many below each other as it takes for all tiers to fit."""
    rows = _rows(columns, notes)
    label_width, unit_width = max(len(row.label) for row in rows), max(len(row.unit) for row in rows)
    room = width - label_width - 1 - unit_width
    blocks = [_block([row.cells[i] for row in rows], name) for i, name in enumerate(columns)]
    while blocks:
        widths = np.cumsum([len(block[0]) + len(_GAP) for block in blocks])
        fit = max(1, int(np.searchsorted(widths, room, side="right")))
        shown, blocks = blocks[:fit], blocks[fit:]
        heading, *texts = (_GAP + _GAP.join(parts) for parts in zip(*shown, strict=True))
        yield Text(" " * (label_width + 1 + unit_width) + heading.rstrip(), "bold")
        for row, text in zip(rows, texts, strict=True):
            yield Text.assemble(f"{row.label:{label_width}} ", (f"{row.unit:{unit_width}}", "dim"), text.rstrip())


def _block(cells: Sequence[Cell], name: str) -> list[str]:
    """A tier's heading, then a text per row: values flush right, intervals flush left, all of one width."""
    values = [f"{c.text}{raised(c.mark) or ' '}" for c in cells]
    left = max(len(value) for value in values)
    texts = [f"{value:>{left}} {c.interval}" for value, c in zip(values, cells, strict=True)]
    texts.insert(0, f"{name:>{left - 1}}")
    width = max(len(text) for text in texts)
    return [f"{text:{width}}" for text in texts]


def raised(mark: str) -> str:
    """A footnote's letter as a superscript of one column."""
    return mark.translate(_RAISED)
