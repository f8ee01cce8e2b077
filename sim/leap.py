"""When the steps of a run of decodes end.

Step time is affine in the context that decoding reads, so the end of any step of a run is a closed form over the noise's prefix
sums, measured from an *anchor*: the step at which the present set of seated requests began to decode undisturbed. Anchors depend on
what is decoded alone, so a run with leaps off passes through the very same times.
"""

from __future__ import annotations

from sim.noise import CHUNK, StepNoise


class LeapClock:
    """The times of one engine's decode steps. ``composition``: of the seats at the anchor; −1 = there is no anchor."""

    __slots__ = ("_alpha", "_at", "_beta", "_first", "_moment", "_noise", "_s", "_step", "composition")

    def __init__(self, noise: StepNoise) -> None:
        self._noise = noise
        self.composition = -1
        self._step = self._at = 0
        self._s = self._first = self._moment = self._alpha = self._beta = 0.0

    def anchor(self, step: int, now: float, composition: int, alpha: float, beta: float) -> None:
        """Step number ``step`` starts now and takes ``alpha`` seconds, and each later one ``beta`` more, but for the noise."""
        self.composition = composition
        self._step = step
        self._at = at = step % CHUNK
        self._s = now
        self._first = self._noise.first[at]
        self._moment = self._noise.moment[at]
        self._alpha = alpha
        self._beta = beta

    def end_of(self, count: int) -> float:
        """When ``count`` steps are done, since the engine's first and up to the end of the noise's chunk."""
        at = self._at
        there = at + count - self._step
        first = self._noise.first[there] - self._first
        moment = self._noise.moment[there] - self._moment
        return self._s + (self._alpha * first + self._beta * (moment - at * first))

    def first_end_at_or_after(self, time: float, low: int, high: int, low_s: float) -> int:
        """The smallest step count from ``low``, which was reached at ``low_s``, to ``high`` that is done at ``time`` or later."""
        guess = low + int((time - low_s) / (self._alpha + self._beta * (low - self._step)))
        count = min(max(guess, low), high)
        while count < high and self.end_of(count) < time:
            count += 1
        while count > low and self.end_of(count - 1) >= time:
            count -= 1
        return count
