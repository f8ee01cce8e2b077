"""Which GPUs to buy: the cheapest fleet of each kind that meets a workload's objectives, or the most that given GPUs carry.

In four steps. Every deployment of the model is estimated from its fingerprint in closed form (``traces.candidates``), which takes
seconds for hundreds. The most promising ones, and at least one of each GPU type, are simulated in short runs under the policies
and settings of the knobs that were asked for (``sim.planning.contest``), all with the same requests and noise. What leads then, and
what comes nearest, runs for the scenario's whole duration, or as much of it as was asked for, and the first of them is put under
stress (``sim.planning.stress``). What is reported is simulated; the closed form only decides where to look, and how far the error
of step times reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from policies.iserve.candidate import Candidate
from policies.placement import Demand
from sim.backends import run_all
from sim.planning.contest import Contender, contest, told_apart
from sim.planning.demand import demand_of as demand_of
from sim.planning.demand import own_step_times, shortened
from sim.planning.gauge import Gauge
from sim.planning.question import Against, Alternative, Arm, Headroom, Plan, Question, Refusal, Shaken
from sim.planning.question import deployed as deployed
from sim.planning.sizing import Ladder, Need, need, rungs
from sim.planning.stress import stressed
from sim.planning.trial import Setting, Trial, attempt
from traces.candidates import candidates, name_of
from traces.errors import InputError
from traces.hardware import GPUS
from traces.scenario import Scenario, load_scenario

SHORT = 2_000
MEDIUM = 6_000
"""Measured requests of a run in the contest, and of one under stress."""
LONGER = 3
MOST_LONGER = 4
"""Alternatives that run longer than the contest: so many at least, and at most where they cannot be told from the first."""
SUREST = ("measured", "end-to-end", "assembled", "analytic")
"""Where step times are from, the surest first."""
MOST_AFTER = 3
"""Others that run longer, one by one, because those fell behind them in it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """``stage``: in words; ``done`` of ``total`` in it; ``standings``: the best so far."""

    stage: str
    done: int
    total: int
    standings: Sequence[Alternative]


Watch = Callable[[Progress], None]


def plan(
    path: str | Path,
    question: Question,
    *,
    sets: Sequence[str] = (),
    jobs: int | None = None,
    cache: Path | None = None,
    watch: Watch | None = None,
) -> Plan:
    """Answers the question for a scenario, whose own fleet is put aside, but for fingerprints that it names.

    Raises:
        InputError: the scenario has no rate, no objective or several models, or no deployment fits.
    """
    scenario = load_scenario(path, sets)
    demand = demand_of(scenario, question.attainment)
    offered = candidates(
        demand,
        question.gpus,
        precisions=question.precisions,
        usd_per_gpu_hour=question.usd_per_gpu_hour,
        within_inventory=False,
        own=own_step_times(scenario),
    )
    chosen = shortlist(offered, question)
    if not chosen:
        kinds = ", ".join(question.gpus)
        raise InputError(
            f"plan: no deployment of {demand.model} on {kinds} can meet the objectives at all, even for one request at a time; "
            "loosen them, or offer other GPUs or precisions"
        )
    setting = Setting(Path(path), tuple(sets), question.attainment, question.aim, question.gpus, cache)
    return _Planner(scenario, demand, question, setting, jobs, watch).answered(chosen, offered)


def shortlist(offered: Sequence[Candidate], question: Question) -> list[Candidate]:
    """Those that could fit and cost no more than the margin allows, by the closed form; the best of each GPU type first."""
    possible = [c for c in offered if c.requests_per_s.value > 0 and math.isfinite(c.usd_per_hour)]
    ranked = sorted(_affordable(possible, question) or possible, key=lambda c: (_expected(c, question), c.configuration))
    first = {c.configuration.gpu: c for c in reversed(ranked)}
    best = sorted(first.values(), key=lambda c: _expected(c, question))
    near = [c for c in _within(ranked, question) if c not in best]
    return [*best, *near][: max(question.most, 1)]


def _affordable(possible: Sequence[Candidate], question: Question) -> list[Candidate]:
    """Those for which there may be enough GPUs; the closed form may be off by a factor of two."""
    if question.aim == "rate":
        return [c for c in possible if question.gpus[c.configuration.gpu] >= c.configuration.gpus]
    return [c for c in possible if c.gpus <= 2 * question.gpus[c.configuration.gpu]]


def _expected(candidate: Candidate, question: Question) -> float:
    """Of the closed form: what the fewest GPUs cost, how many they are, or the inverse of the rate that they carry."""
    if question.aim == "rate":
        engines = question.gpus[candidate.configuration.gpu] // candidate.configuration.gpus
        return 1 / (engines * candidate.requests_per_s.value)
    return float(candidate.gpus) if question.aim == "gpus" else candidate.usd_per_hour


def _within(ranked: Sequence[Candidate], question: Question) -> list[Candidate]:
    return [c for c in ranked if _expected(c, question) <= (1 + question.margin) * _expected(ranked[0], question)]


class _Planner:
    """The steps after the shortlist."""

    def __init__(
        self, scenario: Scenario, demand: Demand, question: Question, setting: Setting, jobs: int | None, watch: Watch | None
    ) -> None:
        self._scenario, self._demand, self._question, self._setting = scenario, demand, question, setting
        self._jobs, self._watch, self._own = jobs, watch, own_step_times(scenario)

    def answered(self, chosen: Sequence[Candidate], offered: Sequence[Candidate]) -> Plan:
        question = self._question
        arms = [self._arm(c, policy, knobs) for c in chosen for policy in question.policies for knobs in question.knobs]
        outcome = contest(self._setting, arms, self._short, question.seeds, self._jobs, self._contest_told)
        refusals = [Refusal(one.arm, one.faults) for one in outcome.known if one.faults]
        known = [one for one in outcome.known if not one.faults]
        if not known:
            raise InputError(*dict.fromkeys(f"{r.arm.candidate.configuration}: {f}" for r in refusals for f in r.reasons))
        found = self._longer(known, [self._alternative(one) for one in known])
        outside = [] if question.extrapolate else [a for a in found if a.beyond]
        refusals += [Refusal(a.arm, a.beyond) for a in outside]
        found = sorted((a for a in found if a not in outside), key=self._order)
        found = _fronted(self._compared(found, {one.arm: one for one in known}))
        headroom: Headroom | None = None
        shaken: list[Shaken] = []
        if question.stress and found and found[0].engines is not None:
            headroom, shaken = stressed(
                self._setting, found[0], self._cut(found[0].arm, MEDIUM), self._jobs, self._stress_told(found)
            )
        possible = [c for c in offered if c.requests_per_s.value > 0]
        return Plan(
            demand=self._demand,
            question=question,
            alternatives=found,
            refusals=refusals,
            considered=len(offered),
            hopeless=len(offered) - len(possible),
            passed_over=len(set(_within(sorted(possible, key=lambda c: _expected(c, question)), question)) - set(chosen)),
            seeds=outcome.seeds,
            separated=outcome.separated,
            headroom=headroom,
            shaken=shaken,
            **self._seconds(found[0].arm if found else arms[0][0]),
        )

    def _arm(self, candidate: Candidate, policy: tuple[str, ...], knobs: tuple[str, ...]) -> tuple[Arm, float, int]:
        """The arm, the price of its supply, and the rung to begin at."""
        question, c = self._question, candidate.configuration
        price = question.usd_per_gpu_hour.get(c.gpu, GPUS[c.gpu].usd_per_hour)
        arm = Arm(candidate, policy, knobs, price, fingerprint=self._own.get(name_of(c)))
        if question.aim == "rate":
            engines = max(1, question.gpus[c.gpu] // c.gpus)
            assert self._demand.rate_per_s is not None
            arm = replace(arm, engines=engines, load=engines * candidate.requests_per_s.value / self._demand.rate_per_s)
            return arm, 1.0, self._setting.ladder(arm).rung(1 / arm.load)
        return arm, c.gpus * (price if question.aim == "usd" else 1.0), candidate.replicas

    # --- from runs to answers ---------------------------------------------------------------------------------------------

    def _alternative(self, one: Contender) -> Alternative:
        return self._told(one.arm, one.seeds.get(0, {}), one.ladder, one.runs, long=self._short(one.arm) == self._long(one.arm))

    def _told(self, arm: Arm, gauges: Mapping[int, Gauge], ladder: Ladder, runs: int, *, long: bool) -> Alternative:
        missed, held = rungs(gauges)
        less = gauges[missed] if missed is not None else None
        binds, binding = ("", "") if less is None else (less.binds, less.binding)
        if held is None:
            return Alternative(arm, None, binds=binds, binding=binding, runs=runs, long=long)
        at, takes = gauges[held], need(gauges, ladder)
        assert takes is not None
        answer = Alternative(
            arm,
            arm.engines or held,
            found=at.found,
            need=takes.value,
            long=long,
            binds=binds or at.binds,
            binding=binding,
            runs=runs,
            warnings=at.warnings,
            beyond=at.beyond,
        )
        return self._with_noise(answer, takes, ladder)

    def _with_noise(self, answer: Alternative, takes: Need, ladder: Ladder) -> Alternative:
        capacity, rate = answer.candidate.requests_per_s, self._demand.rate_per_s
        assert rate is not None
        slow = math.inf if capacity.low <= 0 else capacity.value / capacity.low
        fast = capacity.value / capacity.high
        if self._question.aim == "rate":
            ends = (rate / takes.hi, rate / takes.lo)
            return replace(
                answer, rate_per_s=rate / takes.value, rate_lo=ends[0], rate_hi=ends[1], hardware=(ends[0] / slow, ends[1] / fast)
            )
        assert answer.engines is not None
        lo, hi = (max(1, math.ceil(end - 1e-6)) for end in (takes.lo, takes.hi))
        hardware = (max(1, math.ceil(takes.lo * fast - 1e-6)), math.ceil(takes.hi * slow) if math.isfinite(slow) else math.inf)
        return replace(answer, lo=min(lo, answer.engines), hi=max(hi, answer.engines), hardware=hardware, rate_per_s=rate)

    def _order(self, a: Alternative) -> tuple[float, float, int, float, object, object, object]:
        """The best first; of equal price those whose step times are surer."""
        aim = self._question.aim
        score = -a.rate_per_s if aim == "rate" else float(a.gpus or math.inf) if aim == "gpus" else a.usd_per_hour
        if a.engines is None:
            score = math.inf
        takes = a.need * a.arm.each if math.isfinite(a.need) else math.inf
        sure = SUREST.index(a.candidate.provenance) if a.candidate.provenance in SUREST else len(SUREST)
        return score, a.usd_per_hour, sure, takes, a.candidate.configuration, a.policy, a.arm.knobs

    # --- in longer runs ---------------------------------------------------------------------------------------------------

    def _longer(self, known: Sequence[Contender], found: Sequence[Alternative]) -> list[Alternative]:
        """The first few again, in longer runs, where those of the contest were shorter."""
        if all(self._short(a.arm) == self._long(a.arm) for a in found):
            return list(found)
        standing = [a for a in found if a.engines is not None and (self._question.extrapolate or not a.beyond)]
        standing.sort(key=self._order)
        contenders = {one.arm: one for one in known}
        first = contenders[standing[0].arm] if standing else None
        level = [a for a in standing if first is not None and not told_apart(first, contenders[a.arm])]
        near = [a for i, a in enumerate(standing) if i < LONGER or a in level][:MOST_LONGER]
        answers = {a.arm: a for a in found}
        for _ in range(1 + MOST_AFTER):
            self._run_longer(near, answers)
            standing = sorted((answers[a.arm] for a in standing), key=self._order)
            near = [a for a in standing[:1] if not a.long and a.engines is not None]
            if not near:
                break
        return list(answers.values())

    def _run_longer(self, near: Sequence[Alternative], answers: dict[Arm, Alternative]) -> None:
        trials = [
            Trial(self._setting, a.arm, self._long(a.arm), 0, self._setting.ladder(a.arm).rung(a.need), tries=5) for a in near
        ]
        for done, (index, tried) in enumerate(run_all(attempt, trials, jobs=self._jobs), 1):
            arm = trials[index].arm
            if not tried.faults:
                answers[arm] = self._told(arm, tried.found, self._setting.ladder(arm), answers[arm].runs + tried.runs, long=True)
            self._tell("longer runs of the first ones", done, len(trials), list(answers.values()))

    # --- beside each other ------------------------------------------------------------------------------------------------

    def _compared(self, found: Sequence[Alternative], contenders: dict[Arm, Contender]) -> list[Alternative]:
        """With what is known of the order between each and the first."""
        if not found or found[0].engines is None:
            return list(found)
        first = found[0]
        out = [first]
        for a in found[1:]:
            if a.engines is None:
                out.append(a)
                continue
            same = a.candidate.configuration == first.candidate.configuration
            if not told_apart(contenders[first.arm], contenders[a.arm]) and not self._disjoint(first, a):
                against: Against = "noise"
            elif not same and self._overlap(first, a):
                against = "step times"
            else:
                against = "apart"
            out.append(replace(a, against="same" if self._order(a)[0] == self._order(first)[0] else against))
        return out

    def _disjoint(self, first: Alternative, other: Alternative) -> bool:
        """Whether the noise of their own runs leaves no doubt of the order."""
        if self._question.aim == "rate":
            return other.rate_hi < first.rate_lo
        assert first.hi is not None
        assert other.lo is not None
        return first.hi * self._price(first.arm) < other.lo * self._price(other.arm)

    def _price(self, arm: Arm) -> float:
        """Of an engine, in what is ranked."""
        return arm.each * (arm.usd_per_gpu_hour if self._question.aim == "usd" else 1.0)

    def _overlap(self, first: Alternative, other: Alternative) -> bool:
        """Whether the error of the step times could put the other before the first."""
        assert first.hardware is not None
        assert other.hardware is not None
        if self._question.aim == "rate":
            return other.hardware[1] >= first.hardware[0]
        return other.hardware[0] * self._price(other.arm) <= first.hardware[1] * self._price(first.arm)

    # --- on the way ---------------------------------------------------------------------------------------------------

    def _contest_told(self, stage: str, done: int, total: int, known: Sequence[Contender]) -> None:
        if self._watch is not None:
            self._tell(f"short runs of {stage}", done, total, [self._alternative(one) for one in known if one.needs])

    def _stress_told(self, found: Sequence[Alternative]) -> Callable[[int, int], None]:
        return lambda done, total: self._tell("the first one under stress", done, total, found)

    def _tell(self, stage: str, done: int, total: int, found: Sequence[Alternative]) -> None:
        if self._watch is not None:
            self._watch(Progress(stage, done, total, sorted(found, key=self._order)))

    # --- how long runs are --------------------------------------------------------------------------------------------

    def _short(self, arm: Arm) -> tuple[str, ...]:
        return self._cut(arm, SHORT)

    def _long(self, arm: Arm) -> tuple[str, ...]:
        return self._cut(arm, self._question.requests)

    def _cut(self, arm: Arm, requests: int) -> tuple[str, ...]:
        """Overrides for runs of so many requests at the load that the arm is expected to carry."""
        assert self._demand.rate_per_s is not None
        demand = replace(self._demand, rate_per_s=self._demand.rate_per_s * arm.load)
        return shortened(self._scenario, demand, min(requests, self._question.requests))

    def _seconds(self, arm: Arm) -> dict[str, float]:
        """Simulated in a run of each kind."""
        cuts = {"short_s": self._short(arm), "medium_s": self._cut(arm, MEDIUM), "long_s": self._long(arm), "whole_s": ()}
        sets = (*self._setting.sets, *arm.deployed())
        runs = {kind: load_scenario(self._setting.path, (*sets, *cut)).duration_s for kind, cut in cuts.items()}
        return {kind: math.nan if seconds is None else seconds for kind, seconds in runs.items()}


def _fronted(found: Sequence[Alternative]) -> list[Alternative]:
    """With those marked that nothing beats in both output tokens per second and GPU, and tokens per second and user."""
    points = [(a.tokens_s_per_gpu or 0.0, a.tokens_s_per_user or 0.0) for a in found]

    def beaten(point: tuple[float, float]) -> bool:
        return any(u >= point[0] and v >= point[1] for u, v in points if (u, v) != point)

    return [replace(a, front=min(point) > 0 and not beaten(point)) for a, point in zip(found, points, strict=True)]
