"""What a paper says, what we get, and whether the two agree: the reproduction table beside every figure.

What a paper says becomes a band of values that agree with it. The verdict follows from our 95 % interval alone: wholly inside the
band *agrees*, wholly outside *differs*, across its edge *cannot tell*. Where no value of ours could speak for or against the paper
(other hardware, another quantity), the row is *not comparable* and says why. Contradictions are published like agreements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from figures.units import UNKNOWN, known, number
from traces.intervals import students_t

if TYPE_CHECKING:
    from pandas import DataFrame, Series


class Verdict(StrEnum):
    AGREES = "agrees"
    DIFFERS = "differs"
    CANNOT_TELL = "cannot tell"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Measured:
    """Ours: a mean over seeds with its 95 % interval; ``None`` = unknown. ``note``: what a reader must know before quoting it."""

    value: float | None
    lo: float | None = None
    hi: float | None = None
    seeds: int = 0
    note: str = ""

    def text(self) -> str:
        """``1.31 (1.28–1.34)``, as many digits as the interval supports."""
        shown = number(self.value, self.lo, self.hi)
        if known(self.lo) and known(self.hi) and self.lo != self.hi:
            shown += f" ({number(self.lo, self.lo, self.hi)}–{number(self.hi, self.lo, self.hi)})"
        return shown


@dataclass(frozen=True, slots=True)
class Band:
    """The values that agree with the paper, ends included."""

    low: float = -math.inf
    high: float = math.inf

    def verdict(self, ours: Measured) -> Verdict:
        """Of an interval against the band. One seed has no interval, so it cannot tell."""
        lo, hi = ours.lo, ours.hi
        if lo is None or hi is None or not (known(lo) and known(hi)):
            return Verdict.CANNOT_TELL
        if self.low <= lo and hi <= self.high:
            return Verdict.AGREES
        return Verdict.DIFFERS if hi < self.low or lo > self.high else Verdict.CANNOT_TELL


@dataclass(frozen=True, slots=True)
class Expectation:
    """One row: what a paper says of ``quantity``, in the paper's terms, and how ours comes out of the figure's data.

    ``agrees``: the band of our values that agree with it. Without one the row is not comparable, and ``why`` tells the reason;
    beside a band, ``why`` is what a reader should know of the comparison.
    """

    quantity: str
    paper: str
    source: str
    ours: Callable[[DataFrame], Measured]
    agrees: Band | None = None
    why: str = ""

    def row(self, frame: DataFrame) -> Row:
        """The row for a figure's data."""
        ours = self.ours(frame)
        verdict = Verdict.NOT_COMPARABLE if self.agrees is None else self.agrees.verdict(ours)
        return Row(self.quantity, self.paper, self.source, ours, verdict, "; ".join(filter(None, (ours.note, self.why))))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the reproduction table."""

    quantity: str
    paper: str
    source: str
    ours: Measured
    verdict: Verdict
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data; unknown is null."""
        ours = {
            key: value if known(value) else None
            for key, value in (("ours", self.ours.value), ("lo", self.ours.lo), ("hi", self.ours.hi))
        }
        return {
            "quantity": self.quantity,
            "paper": self.paper,
            **ours,
            "seeds": self.ours.seeds,
            "verdict": self.verdict.value,
            "source": self.source,
            "note": self.note,
        }


def markdown(rows: Sequence[Row]) -> str:
    """The table, and below it its sources and notes, numbered."""
    lines = ["| quantity | paper | ours (95 %) | seeds | verdict |", "|---|---|---|---|---|"]
    notes: dict[str, int] = {}
    for row in rows:
        told = " · ".join(filter(None, (row.source, row.note)))
        mark = notes.setdefault(told, len(notes) + 1)
        cells = (f"{row.quantity} [{mark}]", row.paper, row.ours.text(), str(row.ours.seeds or UNKNOWN), row.verdict.value)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", *(f"{mark}. {told}" for told, mark in notes.items())])


def over_seeds(values: Series[Any], *, log: bool = False) -> Measured:
    """Mean of one value per seed with Student's interval; unknown where a seed has no value.

    ``log``: the geometric mean, for latencies and other positive quantities that are shown on a logarithmic axis.
    """
    if log:
        return _student([math.log(v) if v > 0 else math.nan for v in values], math.exp)
    return _student([float(v) for v in values], lambda x: x)


def ratio_over_seeds(above: Series[Any], below: Series[Any]) -> Measured:
    """Geometric mean of above / below with its interval, paired by the index, which is the seed.

    Both arms of a seed saw the same arrivals, lengths and noise, so the pairs differ by far less than the arms.
    """
    above, below = above.align(below, join="inner")
    ratios = (above / below).astype(float)
    if not (ratios > 0).all():
        return Measured(None, seeds=len(ratios), note="a ratio over nothing")
    return _student([math.log(r) for r in ratios], math.exp)


def curve_over_seeds(rows: DataFrame, by: str, *, log: bool = False) -> DataFrame:
    """``mean``, ``lo``, ``hi`` of the rows' values over seeds, at each value of the column ``by``.

    Both ends lie at the mean where one seed gives no interval. ``log``: as in :func:`over_seeds`.
    """
    import pandas as pd

    found = {at: over_seeds(group["value"], log=log) for at, group in rows.groupby(by)}
    ends = [(m.value, m.value if m.lo is None else m.lo, m.value if m.hi is None else m.hi) for m in found.values()]
    return pd.DataFrame(ends, index=pd.Index(list(found), name=by), columns=["mean", "lo", "hi"], dtype=float)


def _student(values: Sequence[float], back: Callable[[float], float]) -> Measured:
    """The interval of the mean of ``values``, taken ``back`` to the scale that is shown."""
    n = len(values)
    if n == 0 or not all(map(math.isfinite, values)):
        return Measured(None, seeds=n, note="some seeds have no value" if n else "")
    mean = math.fsum(values) / n
    if n == 1:
        return Measured(back(mean), seeds=1, note="one seed has no interval")
    half = students_t(n - 1) * math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return Measured(back(mean), back(mean - half), back(mean + half), n)
