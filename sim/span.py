"""The values that a search may try: between two ends, on a scale that suits them, and so fine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from traces.errors import InputError
from traces.scenario.sweep import Range

WITHIN = 0.02


@dataclass(frozen=True, slots=True)
class Span:
    """``step``: values are multiples of it; ``None`` = any. ``tolerance``: the width, in places, of a narrow enough bracket.

    A *place* is a value's position on the scale: its logarithm where both ends are positive, so that widths are relative.
    """

    low: float
    high: float
    tolerance: float
    step: int | None = None

    @classmethod
    def of(cls, ends: Range, within: float | None, step: int | None) -> Span:
        """``within``: relative width to stop at, of the whole span where it reaches down to 0; ``None`` = 2 %, with a step exact.

        Raises:
            InputError: ``within`` is no width, or no multiple of the step lies between the ends.
        """
        low, high = sorted((ends.low, ends.high))
        if within is not None and not 0 < within < 1:
            raise InputError(f"--within {within:g}: is no relative width; write it like 2%")
        if step is not None:
            low, high = math.ceil(low / step) * step, math.floor(high / step) * step
            if low >= high:
                raise InputError(f"{ends.low:g}..{ends.high:g}: holds fewer than two multiples of {step}; widen it")
        relative = 0.0 if within is None and step is not None else WITHIN if within is None else within
        return cls(low, high, math.log1p(relative) if low > 0 else relative * (high - low), step)

    def place(self, value: float) -> float:
        return math.log(value) if self.low > 0 else value

    def value(self, place: float) -> float:
        return math.exp(place) if self.low > 0 else place

    def width(self, a: float, b: float) -> float:
        """Between two values, in places."""
        return abs(self.place(a) - self.place(b))

    def narrow(self, a: float, b: float, share: float = 1.0) -> bool:
        """Whether nothing more need be tried between two values; ``share``: of the tolerance."""
        if self.step is not None and abs(a - b) <= self.step:
            return True
        return self.width(a, b) <= share * self.tolerance * (1 + 1e-9)

    def within(self, value: float, a: float, b: float) -> bool:
        return min(a, b) <= value <= max(a, b)

    def middle(self, a: float, b: float) -> float:
        return self.value((self.place(a) + self.place(b)) / 2)

    def between(self, a: float, b: float, wanted: float) -> float | None:
        """The value nearest to ``wanted`` that lies between two others, with no more digits than the tolerance warrants."""
        least, most = min(a, b), max(a, b)
        if self.step is not None:
            value = min(max(round(wanted / self.step) * self.step, least + self.step), most - self.step)
        else:
            value = self._plain(wanted)
        return value if least < value < most else None

    def is_least(self, value: float) -> bool:
        """Whether there can be no smaller value: one engine, one request."""
        return self.step is not None and value <= self.step

    def neighbour(self, value: float, toward: float) -> float:
        """The next value on the way to another."""
        assert self.step is not None
        return value + math.copysign(self.step, toward - value)

    def last_held(self, crossing: float, good: float, bad: float) -> float:
        """The last multiple of the step, on the way from ``good`` to ``bad``, before the crossing; never ``bad`` itself."""
        assert self.step is not None
        steps = math.floor(abs(crossing - good) / self.step + 1e-9)
        most = round(abs(bad - good) / self.step) - 1
        return good + math.copysign(min(steps, most) * self.step, bad - good)

    def _plain(self, value: float) -> float:
        if value == 0:
            return 0.0
        fine = self.tolerance * (abs(value) if self.low > 0 else 1.0) / 20
        return float(f"{value:.{max(2, math.ceil(math.log10(abs(value) / fine)))}g}")
