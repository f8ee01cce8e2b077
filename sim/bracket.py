"""A bracket around the value at which goals stop to hold, on any noisy monotone response.

A goal that holds at one end of the bracket and is missed at the other is missed from some value on. Probes narrow that down. All
probes share their seeds, so that what luck there is moves the whole curve and hardly its shape.

- A probe's verdict is *held* or *missed* only when its interval, at three standard errors, lies on one side of the goal. While it
  does not, the probe gets more seeds: 2, 4, 8, … up to the number allowed; after that it stays *open*.
- The next probe stands half a tolerance off the crossing that the known points suggest (regula falsi on transformed values), so
  that held on one side and missed on the other close the bracket at once. When that gains too little, the bracket is halved.
- Beside open probes, the search goes on at the distance from the crossing that noise and slope say can be told from it.

The search ends when the bracket is narrow enough, or when what is left of it cannot be told apart: noise is then the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sim.goals import SURE, Goal, Verdict, height, judge
from sim.span import Span
from traces.errors import InputError
from traces.intervals import Estimate
from traces.pooling import pooled

MOST_SEEDS = 16
_FIRST_SEEDS = 2
_NEAR = 2.5
"""Heights (see ``sim.goals.height``) between which responses are straight enough to tell a slope."""


@dataclass(frozen=True, slots=True)
class Probe:
    """``estimates``: one per goal, over ``seeds`` runs."""

    value: float
    seeds: int
    estimates: tuple[Estimate, ...]
    verdict: Verdict


Outside = Literal["above", "below"]
Stopped = Literal["narrow", "noise", "outside"]


@dataclass(frozen=True, slots=True)
class Answer:
    """``value``: the best estimate, and [``lo``, ``hi``] where it lies for sure; equal when whole numbers leave no choice.

    ``None`` as an end: the noise reaches beyond the bracket there. ``outside``: the answer lies above or below the bracket, and
    ``value`` is unknown. ``runs``: simulations asked for, cached ones included. ``trail``: the probes in the order of their values.
    """

    value: float | None
    lo: float | None
    hi: float | None
    runs: int
    stopped: Stopped
    outside: Outside | None = None
    trail: Sequence[Probe] = field(default_factory=tuple)


Evaluate = Callable[[Sequence[tuple[float, int]]], Sequence[Sequence[Estimate]]]
"""(value, number of the seed) pairs → one estimate per goal, for each of them."""


def bracket(evaluate: Evaluate, goals: Sequence[Goal], span: Span, *, highest: bool, seeds: int = MOST_SEEDS) -> Answer:
    """The search itself, on any noisy response.

    Raises:
        InputError: the goals are missed at the end where they should hold, and hold at the other.
    """
    return _Bracket(evaluate, goals, span, highest, seeds).search()


class _Bracket:
    """``good``, ``bad``: the nearest values known to hold and to miss, at first the ends."""

    def __init__(self, evaluate: Evaluate, goals: Sequence[Goal], span: Span, highest: bool, seeds: int) -> None:
        self._evaluate, self._goals, self._span, self._highest, self._seeds = evaluate, goals, span, highest, seeds
        self._seen: dict[float, list[Sequence[Estimate]]] = {}
        self._probes: dict[float, Probe] = {}
        self._good, self._bad = (span.low, span.high) if highest else (span.high, span.low)
        self._stalled = False

    def search(self) -> Answer:
        first = min(_FIRST_SEEDS, self._seeds)
        self._extend({self._good: first, self._bad: first})
        at_good, at_bad = self._probe(self._good), self._probe(self._bad)
        if at_good.verdict is Verdict.MISSED and at_bad.verdict is Verdict.HELD:
            here, there = ("highest", "lowest") if self._highest else ("lowest", "highest")
            raise InputError(f"--{here}: the goals are missed at {at_good.value:g} and hold at {at_bad.value:g}; ask for --{there}")
        if at_good.verdict is Verdict.MISSED:
            return self._answer("outside", "below" if self._highest else "above")
        if at_bad.verdict is Verdict.HELD:
            if not self._highest and self._span.is_least(self._bad):
                self._good = self._bad
                return self._answer("narrow")
            return self._answer("outside", "above" if self._highest else "below")
        while not self._span.narrow(self._good, self._bad):
            place = self._next()
            if place is None:
                return self._answer("noise")
            self._narrow(self._probe(place))
        return self._answer("narrow")

    def _narrow(self, probe: Probe) -> None:
        before = self._span.width(self._good, self._bad)
        if probe.verdict is Verdict.HELD:
            self._good = probe.value
        elif probe.verdict is Verdict.MISSED:
            self._bad = probe.value
        self._stalled = not self._stalled and self._span.width(self._good, self._bad) > before / 2

    def _open(self) -> list[float]:
        """Undecided values from the good side to the bad one, an undecided end included."""
        found = [
            p.value
            for p in self._probes.values()
            if p.verdict is Verdict.OPEN and self._span.within(p.value, self._good, self._bad)
        ]
        return sorted(found, reverse=not self._highest)

    def _next(self) -> float | None:
        """Where to probe; ``None`` = nothing is left but what is open."""
        span, undecided = self._span, self._open()
        if not undecided:
            return span.between(self._good, self._bad, self._aim())
        blur = self._blur(undecided)
        gaps = [(self._good, undecided[0]), (self._bad, undecided[-1])]
        for known, edge in sorted(gaps, key=lambda gap: -span.width(*gap)):
            if span.narrow(known, edge, share=0.5):
                continue
            aims = [span.middle(known, edge)]
            if blur is not None:
                crossing, distance = span.place(self._crossing()), max(1.2 * blur, 0.45 * span.tolerance)
                told = span.value(crossing + math.copysign(distance, span.place(known) - crossing))
                if span.width(known, span.value(crossing)) < distance or span.width(known, told) < 0.3 * blur:
                    continue  # as near as can be told apart
                aims.insert(0, told)
            for aim in aims:
                if min(known, edge) < aim < max(known, edge) and (place := span.between(known, edge, aim)) is not None:
                    return place
        return None

    def _blur(self, undecided: Sequence[float]) -> float | None:
        """How far from the crossing, in places, a probe must stand to be told from it, by the noise of the nearest open probe and
        the slope between the known ones; ``None`` = they are too far off for their slope to tell.
        """
        span, good, bad = self._span, self._probes[self._good], self._probes[self._bad]
        probe = self._probes[min(undecided, key=lambda x: span.width(x, self._crossing()))]
        blurs = [0.0]
        for i, goal in enumerate(self._goals):
            e, upper, lower = probe.estimates[i], height(goal, good.estimates[i]), height(goal, bad.estimates[i])
            if max(abs(upper), abs(lower)) > _NEAR:
                return None
            ends = [end for end in (e.lo, e.hi) if end is not None]
            if upper > lower and ends:
                doubt = max(abs(height(goal, replace(e, value=end)) - height(goal, e)) for end in ends) * SURE
                blurs.append(doubt / (upper - lower) * span.width(good.value, bad.value))
        return max(blurs)

    def _aim(self) -> float:
        """Half a tolerance off the crossing, on the side from which the bracket is farther away; or the middle."""
        span = self._span
        if self._stalled:
            return span.middle(self._good, self._bad)
        good, bad, crossing = (span.place(x) for x in (self._good, self._bad, self._crossing()))
        toward = good if abs(crossing - good) > abs(bad - crossing) else bad
        aim = crossing + math.copysign(min(0.45 * span.tolerance, abs(toward - crossing)), toward - crossing)
        least, most = sorted((good + 0.05 * (bad - good), bad - 0.05 * (bad - good)))
        return span.value(min(max(aim, least), most))

    def _crossing(self) -> float:
        """Where the first goal is lost, by the values of the probes between ``good`` and ``bad``."""
        span = self._span
        inside = [self._good, *self._open(), self._bad]
        known = [self._probes[x] for x in dict.fromkeys(inside)]
        found = []
        for i, goal in enumerate(self._goals):
            heights = [height(goal, probe.estimates[i]) for probe in known]
            after = next((j for j, height in enumerate(heights) if height < 0), len(known))
            if 0 < after < len(known):
                a, b = span.place(known[after - 1].value), span.place(known[after].value)
                share = heights[after - 1] / (heights[after - 1] - heights[after])
                found.append(a + (b - a) * share)
            else:
                found.append(span.place(known[0 if after == 0 else -1].value))
        return span.value(min(found) if self._highest else max(found))

    def _probe(self, value: float) -> Probe:
        """With as many seeds as its verdict takes."""
        runs = min(_FIRST_SEEDS, self._seeds)
        while True:
            self._extend({value: runs})
            columns = list(zip(*self._seen[value][:runs], strict=True))
            verdicts = {judge(goal, column) for goal, column in zip(self._goals, columns, strict=True)}
            verdict = next((v for v in (Verdict.MISSED, Verdict.OPEN) if v in verdicts), Verdict.HELD)
            self._probes[value] = Probe(value, runs, self._pooled(columns), verdict)
            if verdict is not Verdict.OPEN or runs >= self._seeds:
                return self._probes[value]
            runs = min(2 * runs, self._seeds)

    def _pooled(self, columns: Sequence[Sequence[Estimate]]) -> tuple[Estimate, ...]:
        return tuple(pooled(goal.metric, column) for goal, column in zip(self._goals, columns, strict=True))

    def _extend(self, wanted: Mapping[float, int]) -> None:
        """Run what is missing of the first seeds of each value."""
        missing = [(value, seed) for value, runs in wanted.items() for seed in range(len(self._seen.get(value, ())), runs)]
        for (value, _), estimates in zip(missing, self._evaluate(missing) if missing else (), strict=True):
            self._seen.setdefault(value, []).append(estimates)

    def _answer(self, stopped: Stopped, outside: Outside | None = None) -> Answer:
        runs = sum(map(len, self._seen.values()))
        trail = tuple(self._probes[value] for value in sorted(self._probes))
        span = self._span
        if outside is not None:
            lo, hi = (span.high, None) if outside == "above" else (None, span.low)
            return Answer(None, lo, hi, runs, stopped, outside, trail)
        sure = [x if self._probes[x].verdict is not Verdict.OPEN else None for x in (self._good, self._bad)]
        stopped = "noise" if None in sure else stopped
        best = self._good if self._good == self._bad else self._crossing()
        if span.step is not None and self._good != self._bad:  # the answer itself holds: it is not the first value that misses
            best = span.last_held(best, self._good, self._bad)
            sure[1] = None if sure[1] is None else span.neighbour(self._bad, self._good)
        lo, hi = sure if self._highest else sure[::-1]
        return Answer(best, lo, hi, runs, stopped, None, trail)
