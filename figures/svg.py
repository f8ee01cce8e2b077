"""Charts as inline SVG: lines, steps, bands and stacks on two axes.

Text keeps its size at every width: the outer drawing has no view box (positions are percentages across, pixels down), and only the
marks sit in a stretched inner one with strokes that do not scale. Colours come from the page's CSS by a mark's ``tone`` (see
``figures.style``), so one drawing serves light, dark and print. Every chart is one image to assistive technology, with a title and
a description in words, or a group of dots with names of their own. Axes carry their ranges and marks their labels, so that a script
(``figures/pages/page.js``) can read values off the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

ACROSS, DOWN = 2000, 1000
"""The inner drawing's grid: finer than a pixel on any screen that a report is read on."""

Kind = Literal["number", "share", "seconds", "clock"]
"""What an axis counts, and so how its values are written: ``clock`` is time since a start, ``seconds`` how long something takes."""

_LABEL_PX = 15  # height of one line of label
_LABEL_LETTERS = 14


@dataclass(frozen=True, slots=True)
class Axis:
    """A range, its ticks as (value, label), whether equal distances are equal ratios, and what it counts."""

    lo: float
    hi: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False
    kind: Kind = "number"

    def at(self, values: Any) -> NDArray[np.float64]:
        """Where values lie along the axis, 0 to 1; what lies outside sits on the edge."""
        v = np.asarray(values, float)
        if self.log:
            v = np.log(np.maximum(v, self.lo) / self.lo) / math.log(self.hi / self.lo)
        else:
            v = (v - self.lo) / (self.hi - self.lo)
        return np.clip(v, 0.0, 1.0)

    def told(self) -> str:
        """Range, scale and kind in words that a script splits."""
        return f"{self.lo:.9g} {self.hi:.9g} {'log' if self.log else 'linear'} {self.kind}"


def linear_axis(
    lo: float, hi: float, label: Callable[[float], str], *, ticks: int = 5, round_up: bool = True, kind: Kind = "number"
) -> Axis:
    """About ``ticks`` ticks at 1, 2 or 5 × 10ⁿ. ``round_up``: the axis ends on a tick at or above ``hi``, else at ``hi``."""
    if not hi > lo:
        hi = lo + 1.0
    step = nice_step(0.7 * (hi - lo) / ticks)
    first = math.ceil(lo / step - 1e-9)
    last = math.ceil(hi / step - 1e-9) if round_up else math.floor(hi / step + 1e-9)
    places = [round(k * step, 12) for k in range(first, last + 1)]
    return Axis(lo, max(hi, places[-1]), tuple((place, label(place)) for place in places), kind=kind)


def share_axis(lo: float = 0.0, *, parts: int = 4) -> Axis:
    """From ``lo`` to 100 %, in ``parts`` equal parts."""
    places = [lo + (1 - lo) * k / parts for k in range(parts + 1)]
    return Axis(lo, 1.0, tuple((place, f"{100 * place:.3g} %") for place in places), kind="share")


def log_axis(lo: float, hi: float, label: Callable[[float], str], *, ticks: int = 5, kind: Kind = "number") -> Axis:
    """At most ``ticks`` ticks: at 1, 2 and 5 × 10ⁿ if they are so few, else at 1 and 3 × 10ⁿ, else at every nth power of ten."""
    powers = range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1)
    finer = [[m * 10.0**k for k in powers for m in digits] for digits in ((1, 2, 5), (1, 3))]
    coarser = [[10.0**k for k in powers if k % every == 0] for every in range(1, len(powers) + 1)]
    for places in finer + coarser:
        inside = [place for place in places if lo <= place <= hi]
        if len(inside) <= ticks:
            break
    return Axis(lo, hi, tuple((place, label(place)) for place in inside), log=True, kind=kind)


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 5 × 10ⁿ that is at least ``rough``."""
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(m * magnitude for m in (1.0, 2.0, 5.0, 10.0) if m * magnitude >= rough * (1 - 1e-9))


@dataclass(frozen=True, slots=True)
class Line:
    """A line through (x, y). ``step``: y[i] holds from x[i] to x[i + 1], so x has one entry more. NaN breaks a line."""

    x: Any
    y: Any
    tone: str
    label: str = ""
    step: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """The stepped area between ``low`` and ``high`` over ``x`` (one entry more): a range, or a layer of a stack (``solid``)."""

    x: Any
    low: Any
    high: Any
    tone: str
    label: str = ""
    solid: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """A line through (x, y) with a dot at each point and a bar over its interval, as far as the ends of it are known (NaN: not).

    ``told``: of each dot, what a pointer over it shows, and what it is called where it has the keyboard's focus.
    """

    x: Any
    y: Any
    lo: Any
    hi: Any
    tone: str
    label: str = ""
    told: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A dashed vertical line at ``x``, told in words above the plot; ``y`` marks where its curve crosses it."""

    x: float
    label: str
    tone: str
    y: float | None = None


@dataclass(frozen=True, slots=True)
class Shade:
    """A stretch of the x axis set back, such as what was not measured."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Chart:
    """``name``: unique on the page (an HTML id). ``title`` and ``description``: what a reader who cannot see it is told.

    ``limit_rows``: room above the plot for at least so many limits, so that charts side by side share a base line.
    """

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    marks: Sequence[Line | Band | Points | Limit | Shade] = field(default_factory=tuple)
    height_px: int = 170
    limit_rows: int = 0

    def svg(self) -> Markup:
        """The drawing, to be laid into a box whose margins hold the tick labels (see the report's style sheet)."""
        limits = sorted((m for m in self.marks if isinstance(m, Limit)), key=lambda m: m.x)
        room = max(len(limits), self.limit_rows)
        top = _LABEL_PX * room + (4 if room else 6)
        bottom = top + self.height_px
        role = "group" if any(isinstance(m, Points) and m.told for m in self.marks) else "img"
        out = [
            f'<svg class="chart" role="{role}" aria-labelledby="{self.name}-t {self.name}-d" width="100%" height="{bottom + 22}" '
            f'data-x="{self.x.told()}" data-y="{self.y.told()}">'
            f'<title id="{self.name}-t">{escape(self.title)}</title><desc id="{self.name}-d">{escape(self.description)}</desc>'
            f'<svg class="plot" y="{top}" width="100%" height="{self.height_px}" '
            f'viewBox="0 0 {ACROSS} {DOWN}" preserveAspectRatio="none">'
        ]
        out += [self._shade(m) for m in self.marks if isinstance(m, Shade)]
        out += [f'<path class="grid" d="M0 {_down(v)}H{ACROSS}"/>' for v in self.y.at([t for t, _ in self.y.ticks])]
        out += [f'<path class="tickmark" d="M{_across(v)} {DOWN}v18"/>' for v in self.x.at([t for t, _ in self.x.ticks])]
        out.append(f'<path class="base" d="M0 {DOWN}H{ACROSS}"/>')
        out += [self._band(m) for m in self.marks if isinstance(m, Band)]
        out += [self._line(m) for m in self.marks if isinstance(m, Line | Points)]
        out.append("</svg>")
        out += [self._points(m, top) for m in self.marks if isinstance(m, Points)]
        out += [self._limit(m, row, top, bottom) for row, m in enumerate(limits, room - len(limits))]
        for place, label in zip(self.x.at([t for t, _ in self.x.ticks]), (label for _, label in self.x.ticks), strict=True):
            out.append(f'<text class="tick x" x="{place:.2%}" y="{bottom + 18}">{escape(label)}</text>')
        for place, label in zip(self.y.at([t for t, _ in self.y.ticks]), (label for _, label in self.y.ticks), strict=True):
            out.append(f'<text class="tick y" x="-7" y="{top + (1 - place) * self.height_px + 4:.0f}">{escape(label)}</text>')
        out += self._end_labels(top)
        out.append("</svg>")
        return Markup("".join(out))

    def keys(self) -> list[tuple[str, str]]:
        """(tone, label) of every labelled mark, for a legend where the plot is too narrow for labels at the lines' ends."""
        return [(m.tone, m.label) for m in self.marks if isinstance(m, Line | Band | Points) and m.label]

    def _shade(self, m: Shade) -> str:
        start, end = (self.x.at([m.start, m.end]) * ACROSS).round()
        return f'<rect class="shade" x="{start:.0f}" y="0" width="{end - start:.0f}" height="{DOWN}"/>'

    def _line(self, m: Line | Points) -> str:
        xs, ys = self.x.at(m.x), self.y.at(m.y)
        path = steps_path(xs, ys) if isinstance(m, Line) and m.step else _polyline(xs, ys)
        return f'<path class="line {m.tone}"{_labelled(m.label)} d="{path}"/>'

    def _points(self, m: Points, top: int) -> str:
        columns = self.x.at(m.x), *(top + (1 - self.y.at(values)) * self.height_px for values in (m.y, m.lo, m.hi))
        out = []
        for i, (x, y, lo, hi) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            if math.isnan(y):
                continue
            ends = [y if math.isnan(end) else end for end in (lo, hi)]
            out.append(f'<line class="whisker {m.tone}" x1="{x:.2%}" x2="{x:.2%}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}"/>')
            told = escape(m.told[i]) if m.told else ""
            name, title = (f' role="img" aria-label="{told}"', f"<title>{told}</title>") if m.told else ("", "")
            out.append(f'<circle class="dot {m.tone}" cx="{x:.2%}" cy="{y:.1f}" r="3.6"{name}>{title}</circle>')
        return "".join(out)

    def _band(self, m: Band) -> str:
        xs = self.x.at(m.x)
        over = steps_path(xs, self.y.at(m.high))
        under = steps_path(xs[::-1], self.y.at(m.low)[::-1])
        kind = "layer" if m.solid else "band"
        return f'<path class="{kind} {m.tone}"{_labelled(m.label)} d="{over}L{under[1:]}Z"/>'

    def _limit(self, m: Limit, row: int, top: int, bottom: int) -> str:
        x = float(self.x.at(m.x))
        y = _LABEL_PX * (row + 1) - 4
        side, dx = ("start", 5) if x < 0.42 else ("end", -5)  # the margin left of the plot is the wider one
        out = f'<line class="limit {m.tone}" x1="{x:.2%}" x2="{x:.2%}" y1="{y - 9}" y2="{bottom}"/>'
        if m.y is not None and math.isfinite(m.y):
            out += (
                f'<circle class="dot {m.tone}" cx="{x:.2%}" cy="{top + (1 - float(self.y.at(m.y))) * self.height_px:.1f}" r="3.2"/>'
            )
        return out + (f'<text class="direct {m.tone}" x="{x:.2%}" dx="{dx}" y="{y}" text-anchor="{side}">{escape(m.label)}</text>')

    def _end_labels(self, top: int) -> list[str]:
        """Labels at the right end of each line, pushed apart until none covers another."""
        ends = []
        for m in self.marks:
            if isinstance(m, Line | Points) and m.label:
                last = _end_level(self.y.at(m.y), m.y)
            elif isinstance(m, Band) and m.label:
                middle = (np.asarray(m.low, float) + np.asarray(m.high, float)) / 2
                last = _end_level(self.y.at(middle), middle)
            else:
                continue
            ends.append((top + (1 - last) * self.height_px + 4, m))
        places = spread([y for y, _ in ends], _LABEL_PX, top + 4, top + self.height_px + 4)
        return [
            f'<text class="end {m.tone}" x="100%" dx="8" y="{y:.0f}">{escape(shortened(m.label))}</text>'
            for y, (_, m) in zip(places, ends, strict=True)
        ]


def shortened(name: str) -> str:
    """``name`` if a chart's margin holds it, else its beginning; legends and tables show all of it."""
    return name if len(name) <= _LABEL_LETTERS else name[: _LABEL_LETTERS - 1] + "…"


def spread(places: Sequence[float], gap: float, lo: float, hi: float) -> list[float]:
    """The places, in their order, moved as little as a downward and an upward sweep need to lie ``gap`` apart within [lo, hi]."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    out, floor = list(places), lo
    for i in order:
        out[i] = floor = max(out[i], floor)
        floor += gap
    ceiling = hi
    for i in reversed(order):
        out[i] = ceiling = min(out[i], ceiling)
        ceiling -= gap
    return out


def _labelled(label: str) -> str:
    return f' data-label="{escape(label)}"' if label else ""


def _down(share: float) -> int:
    return round((1 - float(share)) * DOWN)


def _across(share: float) -> int:
    return round(float(share) * ACROSS)


def _polyline(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> str:
    out, pen = [], "M"
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if math.isnan(y):
            pen = "M"
            continue
        out.append(f"{pen}{_across(x)} {_down(y)}")
        pen = "L"
    return "".join(out)


def steps_path(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> str:
    """Path through the levels ``ys`` between the edges ``xs``; equal neighbours share one stroke."""
    out: list[str] = []
    level: int | None = None
    for i, y in enumerate(ys.tolist()):
        new = None if math.isnan(y) else _down(y)
        if new == level:
            continue
        x = _across(xs[i])
        if level is not None:
            out.append(f"H{x}")
        if new is not None:
            out.append(f"V{new}" if level is not None else f"M{x} {new}")
        level = new
    return "".join(out) + (f"H{_across(xs[-1])}" if level is not None else "")


def _end_level(places: NDArray[np.float64], values: Any) -> float:
    """Where a line's label goes: the middle of its last tenth, which one last odd bin does not move."""
    known = places[~np.isnan(np.asarray(values, float))]
    return float(np.median(known[-max(1, len(known) // 10) :])) if len(known) else 0.0
