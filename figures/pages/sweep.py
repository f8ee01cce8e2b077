"""The page of a sweep: every metric against what was varied, and all points in one table that sorts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.headline import TARGET
from figures.pages.page import render
from figures.panels import Panel, latency_axis
from figures.studies.columns import cell_of, headings, label, scale_of
from figures.style import series_tone
from figures.svg import Axis, Chart, Points, linear_axis, log_axis, share_axis
from figures.tables import Cell, Footnotes, letter
from figures.units import count_scale, share
from sim.sweep import COLUMNS, EVERYONE
from traces.errors import InputError
from traces.intervals import UNKNOWN, Estimate
from traces.pooling import pooled

if TYPE_CHECKING:
    from pandas import DataFrame

DRAWN = ("attainment", "goodput_req_s", "ttft_s.p99", "tpot_s.p99", "usd_per_mtok", "gpu_s")
TABLED = (
    "attainment", "goodput_req_s", "throughput_tok_s", "ttft_s.p50", "ttft_s.p99", "tpot_s.p50", "tpot_s.p99", "e2e_s.p99",
    "gpu_s", "usd_per_mtok", "busy", "kv_use.mean",
)  # fmt: skip
_NAMES = {"usd_per_mtok": ("cost", "$ per M output tokens"), "gpu_s": ("GPU time", "GPU-seconds"), "kv_use.mean": ("KV use", "%")}
MOST_LINES = 15
MOST_ROWS = 2000
_LOGARITHMIC = 50  # highest over lowest value from which on an axis of powers is easier to read


def read_sweep(path: Path) -> DataFrame:
    """The table in a Parquet file that ``sweep --out`` wrote.

    Raises:
        InputError: it is none, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        frame = pq.read_table(path, memory_map=False).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: is no readable Parquet file ({error}); give what `twinserve sweep --out` wrote") from None
    numbers = all(frame[name].dtype.kind in "fi" for name in ("seed", "value", "lo", "hi", "n") if name in frame)
    if not set(COLUMNS) <= set(frame.columns) or not numbers or frame.empty:
        raise InputError(f"{path}: is not the table of a sweep; give what `twinserve sweep --out` wrote")
    return frame


@dataclass(frozen=True, slots=True)
class _Point:
    """One combination of values, over all of its seeds. ``found``: (group, metric) → estimate."""

    values: tuple[Any, ...]
    found: dict[tuple[str, str], Estimate]
    faults: tuple[str, ...]
    runs: int
    cautioned: int


def render_sweep(frame: DataFrame, name: str) -> str:
    """The page of a table as ``SweepResult.frame`` lays it out. ``name``: what was swept."""
    axes = [str(column) for column in frame.columns[: list(frame.columns).index("seed")]]
    points = _points(frame, axes)
    shown, notes = points[:MOST_ROWS], Footnotes()
    groups = [str(group) for group in dict.fromkeys(frame["group"])]
    tables = [
        {
            "id": f"table-{i}",
            "name": "All requests" if group == EVERYONE else f"Tier {group}",
            "metrics": (columns := _columns(shown, group, notes)),
            "rows": [
                {"values": [_written(value) for value in point.values] or ["all"], "cells": cells, "cautioned": point.cautioned}
                for point, *cells in zip(shown, *(column["cells"] for column in columns), strict=True)
            ],
        }
        for i, group in enumerate(groups)
    ]
    along = _along(points, len(axes))
    panels = [] if along is None else [p for metric in DRAWN if (p := _panel(points, axes, along, metric)) is not None]
    failed = [point for point in points if point.faults]
    return render(
        "sweep.html.j2",
        sections=[*([("charts", "Charts")] if panels else []), *((table["id"], table["name"]) for table in tables)],
        name=name,
        axes=headings(axes) or ["point"],
        keys=axes,
        head=f"{len(points):,} point{'s' * (len(points) != 1)}" + (f", {len(failed):,} failed" if failed else ""),
        standing="missed" if failed else "none",
        sentence=_sentence(points, axes, groups),
        warnings=_warnings(points, len(shown)),
        panels=panels,
        along="" if along is None else headings(axes)[along],
        tables=tables,
        notes=[(letter(i), note) for i, note in enumerate(notes.notes)],
        target=f"{100 * TARGET:g}",
    )


def _points(frame: DataFrame, axes: Sequence[str]) -> list[_Point]:
    wanted = {*DRAWN, *TABLED, "fault", "warnings"}
    rows = frame[frame["metric"].isin(wanted)]
    keys = [tuple(row) for row in rows[list(axes)].itertuples(index=False)] if axes else [()] * len(rows)
    found: dict[tuple[Any, ...], dict[tuple[str, str], list[Estimate]]] = {}
    seeds: dict[tuple[Any, ...], set[int]] = {}
    faults: dict[tuple[Any, ...], list[str]] = {}
    cautioned: dict[tuple[Any, ...], int] = {}
    for key, row in zip(keys, rows.itertuples(index=False), strict=True):
        found.setdefault(key, {})
        seeds.setdefault(key, set()).add(int(row.seed))
        if row.metric == "fault":
            faults.setdefault(key, []).append(str(row.fault))
        elif row.metric == "warnings":
            cautioned[key] = cautioned.get(key, 0) + bool(row.value)
        else:
            estimate = Estimate(
                _known(row.value), _known(row.lo), _known(row.hi), int(row.n), row.note if isinstance(row.note, str) else ""
            )
            found[key].setdefault((str(row.group), str(row.metric)), []).append(estimate)
    return [
        _Point(
            key,
            {place: pooled(place[1], runs) for place, runs in of_key.items()},
            tuple(dict.fromkeys(faults.get(key, ()))),
            len(seeds[key]),
            cautioned.get(key, 0),
        )
        for key, of_key in found.items()
    ]


def _known(value: float) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _columns(points: Sequence[_Point], group: str, notes: Footnotes) -> list[dict[str, Any]]:
    """The table's metrics of a group, as far as any point has them."""
    columns = []
    for metric in TABLED:
        found = [point.found.get((group, metric), UNKNOWN) for point in points]
        if any(e.value is not None for e in found):
            scale = scale_of(metric, found)
            cells = [
                Cell("failed") if point.faults and not point.found else cell_of(e, scale, notes)
                for point, e in zip(points, found, strict=True)
            ]
            name, unit = _named(metric, scale.unit)
            columns.append({"name": name, "unit": unit, "cells": cells})
    return columns


def _along(points: Sequence[_Point], axes: int) -> int | None:
    """The axis to draw along: of those whose values are numbers, the one with the most."""
    best = None
    for i in range(axes):
        values = {point.values[i] for point in points}
        numbers = all(isinstance(value, int | float | np.number) and math.isfinite(value) for value in values)
        if numbers and len(values) > 1 and (best is None or len(values) > best[0]):
            best = len(values), i
    return None if best is None else best[1]


def _panel(points: Sequence[_Point], axes: Sequence[str], along: int, metric: str) -> Panel | None:
    """A metric of all requests along one axis, a line for each combination of the other axes' values."""
    lines: dict[tuple[Any, ...], list[tuple[float, Estimate]]] = {}
    for point in points:
        e = point.found.get((EVERYONE, metric), UNKNOWN)
        rest = (*point.values[:along], *point.values[along + 1 :])
        if e.value is not None:
            lines.setdefault(rest, []).append((float(point.values[along]), e))
    if not lines:
        return None
    drawn = dict(list(lines.items())[:MOST_LINES])
    scale = scale_of(metric, [e for found in drawn.values() for _, e in found])
    heading, unit = _named(metric, scale.unit)
    marks = []
    for i, (rest, found) in enumerate(drawn.items()):
        found.sort(key=lambda pair: pair[0])
        columns = np.array([[x, *(math.nan if v is None else v for v in (e.value, e.lo, e.hi))] for x, e in found], float).T
        name = ", ".join(map(_written, rest)) or heading
        told = [f"{name}, {headings(axes)[along]} {x:g}: {_told(cell_of(e, scale, Footnotes()), unit)}" for x, e in found]
        marks.append(Points(*columns, series_tone(i), name, told))
    values = np.concatenate([end[np.isfinite(end)] for m in marks for end in (m.y, m.lo, m.hi)])
    xs = sorted({x for found in drawn.values() for x, _ in found})
    span = f"{len(xs)} values of {axes[along]} from {xs[0]:g} to {xs[-1]:g}"
    told = f"{heading} at {span}; between {values.min():.4g} and {values.max():.4g}."
    chart = Chart(
        metric.replace(".", "-"), f"{heading} along {axes[along]}", told, _x_axis(xs), _y_axis(metric, values), marks, 190
    )
    left_out = len(lines) - len(drawn)
    note = f"The first {MOST_LINES} of {len(lines)} lines; the table has all." if left_out else ""
    return Panel(heading[:1].upper() + heading[1:], "" if chart.y.kind in ("seconds", "share") else unit, chart, note)


def _told(cell: Cell, unit: str) -> str:
    """A figure in a sentence."""
    return f"{cell.text} {unit}".rstrip() + (f" ({cell.interval})" if cell.interval else "")


def _named(metric: str, unit: str) -> tuple[str, str]:
    """What a metric is called on a page, and its unit."""
    return _NAMES.get(metric, (label(metric), unit))


def _x_axis(xs: Sequence[float]) -> Axis:
    if xs[0] > 0 and xs[-1] / xs[0] > _LOGARITHMIC:
        return log_axis(xs[0], xs[-1], lambda v: f"{v:g}")
    return linear_axis(xs[0], xs[-1], lambda v: f"{v:g}", round_up=False)


def _y_axis(metric: str, values: np.ndarray) -> Axis:
    if metric == "attainment":
        least = float(values.min())
        return share_axis(math.floor(10 * (least - 0.02)) / 10 if least > 0.52 else 0.0, parts=2 if least > 0.52 else 4)
    if metric.partition(".")[0] in ("ttft_s", "tpot_s", "e2e_s"):
        return latency_axis(values, [])
    scale = count_scale([float(values.max())])
    return linear_axis(0.0, float(values.max()), lambda v: f"{v * scale.factor:g}{scale.unit and ' ' + scale.unit}", ticks=4)


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(points: Sequence[_Point], axes: Sequence[str], groups: Sequence[str]) -> str:
    """How many points attain the target for sure, and which of them is the cheapest."""
    judged = [(point, point.found[EVERYONE, "attainment"]) for point in points if (EVERYONE, "attainment") in point.found]
    known = [(point, e) for point, e in judged if e.value is not None]
    if not known:
        return "No point has requests with a latency objective, so none is judged."
    met = [(point, e) for point, e in known if (e.value if e.lo is None else e.lo) >= TARGET]
    words = f"{len(met):,} of {len(known):,} points attain {100 * TARGET:g} % for sure (all of the 95 % interval)."
    best, most = max(known, key=lambda pair: pair[1].value or 0.0)
    return f"{words} The highest attainment is {share(most.value)}{_where(best, axes)}."


def _where(point: _Point, axes: Sequence[str]) -> str:
    told = ", ".join(f"{key} = {_written(value)}" for key, value in zip(headings(axes), point.values, strict=True))
    return f", at {told}" if told else ""


def _warnings(points: Sequence[_Point], shown: int) -> list[str]:
    faults: dict[str, int] = {}
    for fault in (fault for point in points for fault in point.faults):
        faults[fault] = faults.get(fault, 0) + 1
    told = [f"{number:,} of {len(points):,} points failed: {fault}" for fault, number in faults.items()]
    if cautioned := sum(bool(point.cautioned) for point in points):
        told.append(
            f"The runs of {cautioned:,} of {len(points):,} points gave warnings; `twinserve run` with a point's values tells them"
        )
    if shown < len(points):
        told.append(f"The tables show the first {shown:,} of {len(points):,} points")
    return told


def sweep_page(path: Path) -> str:
    """The page of a sweep's file.

    Raises:
        InputError: the file is not the table of a sweep.
    """
    return render_sweep(read_sweep(path), path.stem)
