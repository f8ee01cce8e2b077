"""The page of an A/B comparison: is B better, by how much, and where did the two first decide differently."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from figures.cells import axis_ticks, interval_dot
from figures.comparison import Row, chose, figures_of, introduced, judged, rows_of, verdict, what_ran
from figures.headline import Standing
from figures.pages.page import render
from figures.svg import Axis
from figures.tables import Footnotes, letter
from figures.units import MINUS, count, share
from traces.compare import HEADLINE, Comparison, Difference, Finding
from traces.divergence import LOAD, Divergence
from traces.matching import ALL

if TYPE_CHECKING:
    from sim.compare import Experiment

_WIDEST = 1.0
_STEPS = (1, 1.5, 2, 3, 4, 6, 8, 10)
_LOADS = ("Running", "Waiting", "To prefill", "KV tokens")
_CSS = {"green": "good", "red": "bad", "yellow": "open", "dim": "none"}


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    unit: str
    a: str
    b: str
    difference: str
    interval: str
    graphic: Markup
    relative: str
    verdict: str
    css: str
    mark: str


def render_comparison(found: Experiment) -> str:
    """The page as text."""
    comparison, notes = found.comparison, Footnotes()
    axis = _axis(comparison)
    groups = [
        {
            "id": f"group-{i}",
            "name": "All requests" if group == ALL else f"Tier {group}",
            "lines": [_line(row, d, axis, notes) for row, d in rows_of(comparison, group)],
        }
        for i, group in enumerate(comparison.groups())
    ]
    standing, head = _headline(comparison)
    multiplicity = comparison.multiplicity()
    apart = share(comparison.apart_share)
    return render(
        "comparison.html.j2",
        sections=[*((group["id"], group["name"]) for group in groups), ("routing", "Routing"), ("provenance", "What was compared")],
        names=comparison.names,
        standing=standing.value,
        head=head,
        sentence=verdict(comparison),
        what_ran=what_ran(comparison),
        warnings=list(found.warnings),
        groups=groups,
        axis=axis_ticks(axis),
        notes=[(letter(i), note) for i, note in enumerate(notes.notes)],
        care=f"{multiplicity[:1].upper()}{multiplicity[1:]}." if multiplicity else "",
        apart="Every request went to the same engine in both arms." if comparison.apart_share == 0
        else f"{apart} of the requests went to another engine in B than in A.",
        decisions=[_decision(found.divergences, i) for i in range(len(found.divergences))],
        load_names=_LOADS,
        remarks=list(comparison.notes),
        seeds=", ".join(map(str, comparison.seeds)),
    )  # fmt: skip


def _headline(comparison: Comparison) -> tuple[Standing, str]:
    """Judged by attainment, the one difference that is judged by itself."""
    d = comparison.get(HEADLINE[1])
    if d is None:
        return Standing.NONE, "No objective to judge by"
    better = d.difference > 0
    match d.finding:
        case Finding.SHOWN | Finding.ALONE:
            return (Standing.MET, "B attains more") if better else (Standing.MISSED, "B attains less")
        case Finding.SAME:
            return Standing.NONE, "The same attainment"
        case Finding.NOT_SHOWN:
            return Standing.OPEN, "No difference in attainment shown"
        case _:
            return Standing.OPEN, "Too short to tell attainments apart"


def _relative(d: Difference, row: Row) -> tuple[float, float | None, float | None]:
    """B − A and its interval: shares as they are, all else as a part of A."""
    size = 1.0 if row.unit == "%" else abs(d.a)
    if size == 0:
        return math.nan, None, None
    return d.difference / size, None if d.lo is None else d.lo / size, None if d.hi is None else d.hi / size


def _axis(comparison: Comparison) -> Axis:
    """As far to both sides as the widest interval of all groups reaches, and no further than 100 %."""
    ends = [end for group in comparison.groups() for row, d in rows_of(comparison, group) for end in _relative(d, row)]
    reach = max((abs(end) for end in ends if end is not None and math.isfinite(end)), default=0.0)
    magnitude = 10.0 ** math.floor(math.log10(max(reach, 1e-3)))
    reach = min(_WIDEST, next(step * magnitude for step in _STEPS if step * magnitude >= reach))
    ticks = [(-reach, f"{MINUS}{100 * reach:g} %"), (0.0, "0"), (reach, f"+{100 * reach:g} %")]
    return Axis(-reach, reach, tuple(ticks))


def _line(row: Row, d: Difference, axis: Axis, notes: Footnotes) -> _Line:
    unit, a, b, difference, interval = figures_of(row, d)
    words, style = judged(d, row)
    value, lo, hi = _relative(d, row)
    css = _CSS[style]
    tone = {"good": "good", "bad": "bad"}.get(css, "muted")
    known = lo is not None and hi is not None
    graphic = interval_dot(axis, value, lo if known else value, hi if known else value, 0.0, tone)
    return _Line(row.label, unit, a, b, difference, interval, graphic, f"{value:.9g}", words, css, notes.mark(d.note))


@dataclass(frozen=True, slots=True)
class _Decision:
    heading: str
    choices: list[tuple[str, str]]
    rows: list[list[str]]


def _decision(found: Sequence[Divergence], i: int) -> _Decision:
    one = found[i]
    rows = []
    for arm, name in enumerate("AB"):
        for engine, views in one.loads.items():
            view = views[arm]
            told = ["–"] * 5
            if view is not None:
                score = view.get("score")
                told = [*(count(view.get(key)) for key in LOAD), "not scored" if score is None else f"{score:g}"]
            rows.append([f"{engine} in {name}", *told])
    return _Decision(introduced(found, i), [("A", chose(one.a)), ("B", chose(one.b))], rows)
