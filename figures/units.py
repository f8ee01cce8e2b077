"""Numbers as people read them: a unit that fits, as many digits as the interval warrants, and ``–`` for what is unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN = "–"
MINUS = "−"


@dataclass(frozen=True, slots=True)
class Scale:
    """A unit that a whole column or axis shares: shown value = value × ``factor``, in ``unit``."""

    unit: str
    factor: float = 1.0

    def number(self, value: float | None, lo: float | None = None, hi: float | None = None) -> str:
        """The value in this unit, without the unit. See :func:`number`."""
        return number(*(None if v is None else v * self.factor for v in (value, lo, hi)))

    def interval(self, lo: float | None, hi: float | None) -> str:
        """``0.95–1.12`` in this unit, both ends with the digits that their distance warrants; ``≥ 0.95`` where the other end is
        unknown; empty where both are.
        """
        if known(lo) and known(hi):
            return f"{self.number(lo, lo, hi)}–{self.number(hi, lo, hi)}"
        return f"≥ {self.number(lo)}" if known(lo) else f"≤ {self.number(hi)}" if known(hi) else ""

    def text(self, value: float | None) -> str:
        """The value with its unit, for running text."""
        return f"{self.number(value)} {self.unit}".rstrip() if known(value) else UNKNOWN


PLAIN = Scale("")
PERCENT = Scale("%", 100.0)


def known(value: float | None) -> bool:
    """Whether there is a finite number to show."""
    return value is not None and math.isfinite(value)


def number(value: float | None, lo: float | None = None, hi: float | None = None) -> str:
    """Round to what the interval [lo, hi] supports (one digit of its half-width, two if that digit is 1 or 2), else to 3 digits.

    Never more than 5 digits of a fraction; whole parts are never rounded away, and are grouped: ``12,480``. ``–`` when unknown.
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    decimals = _decimals_of_interval(lo, hi)
    digits = 3 if decimals is None else 5  # an interval that is narrower still says more about the method than about the fleet
    most = 0 if value == 0 else max(0, digits - 1 - _exponent(value))
    text = f"{value:,.{most if decimals is None else min(decimals, most)}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def share(value: float | None) -> str:
    """A part of a whole, to a tenth of a per cent; what falls short of all, or is more than none, never reads as all or none."""
    if value is None or not known(value):
        return UNKNOWN
    value = round(value, 9)
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    return f"{value:.0%}".replace("%", " %") if value in (0, 1) else f"{100 * value:.1f} %"


def share_interval(lo: float | None, hi: float | None) -> str:
    """The interval of a share in per cent, without the sign; rounded outwards, to a decimal at most, not to claim too much."""
    if lo is None or hi is None:
        return PERCENT.interval(lo, hi)
    unit = 10 ** min(1, _decimals_of_interval(100 * lo, 100 * hi) or 0)
    low, high = math.floor(100 * lo * unit + 1e-9) / unit, math.ceil(100 * hi * unit - 1e-9) / unit
    return f"{low:g}–{high:g}" if low < high else ""


def count(value: int | float | None) -> str:
    """A whole number, grouped: ``19,366``."""
    return f"{int(value):,}" if value is not None and known(value) else UNKNOWN


def seconds_scale(values: Iterable[float | None]) -> Scale:
    """µs, ms or s: the unit in which the middle of ``values`` (seconds) has a whole part of one to four digits."""
    return _fit(values, (Scale("µs", 1e6), Scale("ms", 1e3), Scale("s")), largest=1000.0)


def clock_scale(span_s: float) -> Scale:
    """s, min, h or d for the time axis of something that lasts ``span_s`` seconds."""
    for limit, scale in ((1e-3, Scale("µs", 1e6)), (1, Scale("ms", 1e3)), (180, Scale("s")), (3 * 3600, Scale("min", 1 / 60))):
        if span_s < limit:
            return scale
    return Scale("h", 1 / 3600) if span_s < 3 * 86400 else Scale("d", 1 / 86400)


def count_scale(values: Iterable[float | None]) -> Scale:
    """Plain, k, M or G, by the largest value, so that no shown number needs more than four digits before the point."""
    top = max((abs(v) for v in values if v is not None and known(v)), default=0.0)
    for limit, scale in ((1e4, PLAIN), (1e7, Scale("k", 1e-3)), (1e10, Scale("M", 1e-6))):
        if top < limit:
            return scale
    return Scale("G", 1e-9)


def seconds(value: float | None) -> str:
    """A latency in running text, with the unit that suits it: ``412 ms``, ``1.93 s``."""
    return seconds_scale([value]).text(value)


def limit(value: float) -> str:
    """An exact time that someone chose, such as an objective or a tick, with no more digits than it has: ``500 ms``, ``2 s``."""
    scale = seconds_scale([value])
    return f"{value * scale.factor:.6g} {scale.unit}"


def duration(value: float | None) -> str:
    """How long something took, in running text: ``27 s``, ``58.1 min``, ``6.4 h``."""
    return clock_scale(value).text(value) if value is not None and known(value) else UNKNOWN


def quantity(value: float | None, unit: str = "") -> str:
    """An amount in running text with k, M or G in front of its unit: ``183 k tok/s``."""
    scale = count_scale([value])
    return " ".join(part for part in (scale.number(value), scale.unit, unit) if part) if known(value) else UNKNOWN


def _exponent(value: float) -> int:
    """Decimal exponent after rounding to 3 digits, so that 0.9996 counts as 1.00."""
    return int(f"{abs(value):.2e}".partition("e")[2])


def _decimals_of_interval(lo: float | None, hi: float | None) -> int | None:
    if lo is None or hi is None or not (known(lo) and known(hi)) or hi <= lo:
        return None
    half = (hi - lo) / 2
    exponent = math.floor(math.log10(half))
    return max(0, -exponent + (1 if half / 10.0**exponent < 3 else 0))


def _fit(values: Iterable[float | None], scales: tuple[Scale, ...], largest: float) -> Scale:
    shown = sorted(abs(v) for v in values if v is not None and known(v) and v != 0)
    if not shown:
        return scales[-2]
    middle = shown[len(shown) // 2]
    for scale in scales:
        if middle * scale.factor < largest:
            return scale
    return scales[-1]
