"""The highest, or lowest, value of one field at which goals still hold: a bracket that copes with noise.

A goal that holds at one end of the bracket and is missed at the other is missed from some value on. Probes narrow that down. All
probes share their seeds, so that what luck there is moves the whole curve and hardly its shape.

- A probe's verdict is *held* or *missed* only when its interval, at ``_SURE`` standard errors, lies on one side of the goal. While
  it does not, the probe gets more seeds: 2, 4, 8, … up to the number allowed; after that it stays *open*.
- The next probe stands half a tolerance off the crossing that the known points suggest (regula falsi on transformed values), so
  that held on one side and missed on the other close the bracket at once. When that gains too little, the bracket is halved.
- Around open probes, only what lies between them and the known ends is searched on.

The search ends when the bracket is narrow enough, or when all that is left of it is open: noise is then the limit, not probes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sim.span import Span
from sim.sweep import EVERYONE, Point, Runner, Watch, estimate
from traces.errors import InputError
from traces.intervals import Estimate
from traces.metrics import METRICS
from traces.pooling import pooled, replicated
from traces.scenario.document import nearest
from traces.scenario.sweep import Range, parse_range
from traces.units import parse_quantity

MOST_SEEDS = 16
_FIRST_SEEDS = 2
_SURE = 3.0
"""Standard errors that a verdict takes. A search looks at a crossing a dozen times; at 1.96 it would err in one search of five."""
_Z = 1.959964
_NEAR = 2.5
"""Heights (see ``_height``) between which responses are straight enough to tell a slope."""


class Verdict(StrEnum):
    """Of the goals at one value."""

    HELD = "held"
    MISSED = "missed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Goal:
    """``metric`` of ``group`` (all requests, or a tier) is at least, or at most, ``threshold``."""

    metric: str
    threshold: float
    at_least: bool = True
    group: str = EVERYONE

    def verdict(self, estimate: Estimate) -> Verdict:
        """Open unless the estimate is sure of its side."""
        better, worse = (estimate.lo, estimate.hi) if self.at_least else (estimate.hi, estimate.lo)
        if estimate.value is None:
            return Verdict.OPEN
        if better is not None and self.slack(estimate.value + (better - estimate.value) * _SURE / _Z) >= 0:
            return Verdict.HELD
        if worse is not None and self.slack(estimate.value + (worse - estimate.value) * _SURE / _Z) < 0:
            return Verdict.MISSED
        return Verdict.OPEN

    def slack(self, value: float) -> float:
        """How much better than asked."""
        return value - self.threshold if self.at_least else self.threshold - value

    def __str__(self) -> str:
        group = "" if self.group == EVERYONE else f"@{self.group}"
        return f"{self.metric}{group} {'≥' if self.at_least else '≤'} {self.threshold:g}"


_GOAL = re.compile(r"\s*([\w.]+?)\s*(?:@\s*(.+?))?\s*(>=|<=|≥|≤|>|<)\s*(.+?)\s*")


def parse_goal(text: str) -> Goal:
    """A goal from `attainment>=90%`, `ttft_s.p99<=500ms` or, of one tier, `attainment@premium>=95%`.

    Raises:
        InputError: it is not of that form, or names no metric.
    """
    match = _GOAL.fullmatch(text)
    if match is None:
        raise InputError(f"--goal {text}: is no goal; write it like 'attainment>=90%' or 'ttft_s.p99<=500ms'")
    metric, group, sign, written = match.groups()
    known = [key for definition in METRICS for key in definition.keys]
    if metric not in known:
        raise InputError(f"--goal {text}: there is no metric `{metric}`; {nearest(metric, known)}")
    threshold = parse_quantity(written)
    try:
        threshold = float(written) if threshold is None else threshold
    except ValueError:
        raise InputError(f"--goal {text}: `{written}` is no number; write it like 90%, 500ms or 0.9") from None
    return Goal(metric, threshold, sign in (">=", ">", "≥"), group or EVERYONE)


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


class Search(NamedTuple):
    """Everything about a search of a scenario's field. ``highest``: the goals hold at its low end; else at its high end."""

    key: str
    span: Span
    unit: str
    goals: Sequence[Goal]
    highest: bool


def highest(scenario_path: str | Path, field: str, goals: Sequence[Goal], **options: Any) -> Answer:
    """The highest value of a field, such as `workload.chat.rate=4/s..40/s`, at which all goals hold. Options: as ``search``."""
    return search(scenario_path, field, goals, highest=True, **options)[1]


def lowest(scenario_path: str | Path, field: str, goals: Sequence[Goal], **options: Any) -> Answer:
    """The lowest value of a field, such as `fleet.gpus=1..16`, at which all goals hold. Options: as ``search``."""
    return search(scenario_path, field, goals, highest=False, **options)[1]


def search(
    scenario_path: str | Path,
    field: str,
    goals: Sequence[Goal],
    *,
    highest: bool,
    within: float | None = None,
    seeds: int = MOST_SEEDS,
    sets: Sequence[str] = (),
    backend: str = "loky",
    jobs: int | None = None,
    cluster: str | None = None,
    cache: Path | None = None,
    watch: Watch | None = None,
) -> tuple[Search, Answer]:
    """Search ``field``, `key.path=LOW..HIGH`. ``within``: relative width of the bracket to stop at, 2 % unless said; a field that
    counts things (both ends whole, and whole in the scenario) is searched to the exact number unless it is said.

    ``seeds``: runs per probe at most. The rest: as ``sim.sweep.sweep``.

    Raises:
        InputError: the field, a goal or the scenario is at fault, a run fails, or the goals get better where they should get worse.
    """
    from sim.backends import local_jobs

    if seeds < 1:
        raise InputError(f"--seeds {seeds}: is too few; use 1 or more")
    local = backend in ("loky", "threads")
    workers = min(jobs or local_jobs(), max(seeds, 2 * _FIRST_SEEDS)) if local and (jobs is None or jobs > 0) else jobs
    runner = Runner(scenario_path, sets=sets, backend=backend, jobs=workers, cluster=cluster, cache=cache)
    key, ends = _field(field, "--highest" if highest else "--lowest")
    loaded = runner.scenario((f"{key}={min(ends.low, ends.high):.10g}{ends.unit}",))
    span = Span.of(ends, within, _step(key, ends, loaded.resolved()))
    asked = Search(key, span, ends.unit, goals, highest)
    evaluate = _Simulated(runner, asked, loaded.seed, watch)
    return asked, bracket(evaluate, goals, span, highest=highest, seeds=seeds)


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
            e, upper, lower = probe.estimates[i], _height(goal, good.estimates[i]), _height(goal, bad.estimates[i])
            if max(abs(upper), abs(lower)) > _NEAR:
                return None
            ends = [end for end in (e.lo, e.hi) if end is not None]
            if upper > lower and ends:
                doubt = max(abs(_height(goal, replace(e, value=end)) - _height(goal, e)) for end in ends) * _SURE / _Z
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
            heights = [_height(goal, probe.estimates[i]) for probe in known]
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
            verdicts = {_verdict(goal, column) for goal, column in zip(self._goals, columns, strict=True)}
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


def _verdict(goal: Goal, estimates: Sequence[Estimate]) -> Verdict:
    """Of few runs, neither what they know of themselves nor their spread is trusted alone."""
    found = {goal.verdict(pooled(goal.metric, estimates)), goal.verdict(replicated(estimates))}
    return found.pop() if len(found) == 1 else Verdict.OPEN


def _height(goal: Goal, estimate: Estimate) -> float:
    """Slack on a scale on which responses to load are about straight: log-odds of shares, logarithms of what is positive."""
    value, threshold = estimate.value, goal.threshold
    assert value is not None
    sign = 1 if goal.at_least else -1
    if goal.metric.startswith("attainment") and 0 < threshold < 1:
        edge = 0.5 / max(estimate.n, 1)
        return sign * (_logit(min(max(value, edge), 1 - edge)) - _logit(threshold)) or 0.0
    if value > 0 and threshold > 0:
        return sign * (math.log(value) - math.log(threshold))
    return sign * (value - threshold)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


# --- on a scenario ----------------------------------------------------------------------------------------------------


class _Simulated:
    """Evaluates probes by running the scenario. Seeds count up from the scenario's own."""

    def __init__(self, runner: Runner, asked: Search, seed: int, watch: Watch | None) -> None:
        self._runner, self._asked, self._seed, self._watch = runner, asked, seed, watch

    def __call__(self, wanted: Sequence[tuple[float, int]]) -> Sequence[Sequence[Estimate]]:
        points = [Point((f"{self._asked.key}={value:.10g}{self._asked.unit}",), self._seed + i) for value, i in wanted]
        result = self._runner.run(points, self._watch)
        if result.faults:
            raise InputError(*result.faults)
        return [[_of(goal, r.summary()) for goal in self._asked.goals] for r in result.results]


def _of(goal: Goal, summary: Mapping[str, Any]) -> Estimate:
    groups = {EVERYONE: summary["metrics"], **summary["tiers"]}
    if goal.group not in groups:
        raise InputError(f"--goal {goal}: there is no tier `{goal.group}`; {nearest(goal.group, list(groups))}")
    found = estimate(groups[goal.group], goal.metric)
    if found.value is None:
        why = f" ({found.note})" if found.note else ""
        raise InputError(f"--goal {goal}: is not known in a run{why}; give the requests an `slo:`, or choose another metric")
    return found


def _field(text: str, option: str) -> tuple[str, Range]:
    key, equals, written = text.partition("=")
    try:
        ends = parse_range(written) if equals and key.strip() else None
    except ValueError as error:
        raise InputError(f"{option} {key.strip()}: {error}") from None
    if ends is None or ends.count is not None:
        raise InputError(f"{option} {text}: names no bracket; write it like workload.chat.rate=4/s..40/s or fleet.gpus=1..16")
    return key.strip(), ends


def _step(key: str, ends: Range, resolved: Mapping[str, Any]) -> int | None:
    """1 where the field counts things; GPUs come in whole engines."""
    if not ends.whole:
        return None
    node: Any = resolved
    for word in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
        if isinstance(node, list):
            named = [entry for entry in node if isinstance(entry, Mapping) and entry.get("name") == word]
            node = named[0] if named else node[int(word)] if word.isdecimal() and int(word) < len(node) else None
        else:
            node = node.get(word) if isinstance(node, Mapping) else None
    if not isinstance(node, int) or isinstance(node, bool):
        return None
    return int(resolved["fleet"]["tensor_parallel"]) if key == "fleet.gpus" else 1
