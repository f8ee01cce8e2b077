"""Which of many arms needs least, in rounds: short runs of all, then more seeds of those that are still in it.

All arms of a round see the same requests, so that two of them differ by what they are and hardly by luck. What each needs is a
fraction of engines for every seed, and what counts is the difference of its cost to the leader's, paired by seed. After each round
an arm is out when that difference is told from nothing (95 %); the contest ends when the leader is alone or the seeds are spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sim.backends import run_all
from sim.planning.gauge import Gauge
from sim.planning.question import Arm
from sim.planning.sizing import Ladder, Need, difference, need, need_per_seed, rungs
from sim.planning.trial import Setting, Trial, Tried, attempt

NEAR = 0.5
"""By how much more than the leader an arm may cost after one seed and still get a second, and a deployment other policies, as a
share."""
MOST_NEAR = 8
"""Of them."""
FIRST_TESTED = 3
"""Seeds from which on an interval over seeds is worth something."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An arm and its runs: seed → rung → gauge. ``price``: of one unit of supply, in what the question is about."""

    arm: Arm
    price: float
    ladder: Ladder
    seeds: Mapping[int, Mapping[int, Gauge]] = field(default_factory=dict)
    runs: int = 0
    faults: tuple[str, ...] = ()

    @property
    def held(self) -> int | None:
        """The least rung that holds, by the first seed."""
        return rungs(self.seeds[0])[1] if self.seeds else None

    @property
    def needs(self) -> list[float]:
        """By seed, one engine at least; empty where nothing holds."""
        if self.held is None:
            return []
        least = 0.0 if self.ladder.fine else self.ladder.supply(self.ladder.least)
        found = need_per_seed([self.seeds[seed] for seed in sorted(self.seeds)], self.ladder)
        return [max(one, least) for one in found]

    @property
    def cost(self) -> float:
        """Of what it needs, over seeds; infinite where nothing holds."""
        needs = self.needs
        return self.price * math.exp(math.fsum(map(math.log, needs)) / len(needs)) if needs else math.inf

    @property
    def need(self) -> Need | None:
        """By the first seed, with the noise of its runs."""
        return need(self.seeds[0], self.ladder) if self.seeds else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All contenders by cost; the seeds that the leader had; whether it is told from all others."""

    known: Sequence[Contender]
    seeds: int
    separated: bool


Told = Callable[[str, int, int, Sequence[Contender]], None]
"""The stage, how many of how many are done in it, and what is known so far."""


def contest(
    setting: Setting,
    arms: Sequence[tuple[Arm, float, int]],
    cut: Callable[[Arm], tuple[str, ...]],
    seeds: int,
    jobs: int | None,
    told: Told,
) -> Outcome:
    """Between arms, each with the price of its supply and the rung to begin at. ``cut``: overrides that shorten an arm's runs.

    Under the first policy and setting of the knobs all deployments run; under the others those that were near the leader then, from
    the rung that they needed, and those that failed, unless all that there is of them costs too much to be near.
    """
    lead = (arms[0][0].policy, arms[0][0].knobs)
    first = [one for one in arms if (one[0].policy, one[0].knobs) == lead]
    others = [one for one in arms if (one[0].policy, one[0].knobs) != lead]
    known = {arm: Contender(arm, price, setting.ladder(arm)) for arm, price, _ in first}
    _run(known, [Trial(setting, arm, cut(arm), 0, rung) for arm, _, rung in first], jobs, told, "all deployments")
    if others:
        rivals = _rivals(list(known.values()), 1)
        held = {one.arm.candidate: one.held for one in rivals}
        dear = (1 + NEAR) * rivals[0].cost if rivals else math.inf
        failed = (one for one in known.values() if one.held is None and not one.faults)
        held |= {one.arm.candidate: None for one in failed if one.price * one.ladder.supply(one.ladder.most) <= dear}
        tried = [(arm, price, held[arm.candidate] or rung) for arm, price, rung in others if arm.candidate in held]
        known |= {arm: Contender(arm, price, setting.ladder(arm)) for arm, price, _ in tried}
        _run(known, [Trial(setting, arm, cut(arm), 0, rung) for arm, _, rung in tried], jobs, told, "the other policies and knobs")
    spent = 1
    while spent < seeds and len(rivals := _rivals(list(known.values()), spent)) > 1:
        trials = []
        for one in rivals:
            missed, least = rungs(one.seeds[0])
            assert least is not None
            trials.append(Trial(setting, one.arm, cut(one.arm), spent, rungs=(least,) if missed is None else (missed, least)))
        spent += 1
        _run(known, trials, jobs, told, f"the {len(rivals)} nearest, seed {spent}")
    return Outcome(_ordered(known), spent, len(_rivals(list(known.values()), spent)) < 2)


def told_apart(a: Contender, b: Contender) -> bool:
    """Whether the seeds that both had, or else the noise within one run of each, tell which of them needs less."""
    both = min(len(a.needs), len(b.needs))
    if not both:
        return bool(a.needs) != bool(b.needs)
    if both < FIRST_TESTED:
        low, high = sorted((a, b), key=lambda one: one.cost)
        assert low.need is not None
        assert high.need is not None
        return low.price * low.need.hi < high.price * high.need.lo
    _, lo, hi = difference([a.price * x for x in a.needs[:both]], [b.price * x for x in b.needs[:both]])
    return lo > 0 or hi < 0


def _rivals(known: Sequence[Contender], seeds: int) -> list[Contender]:
    """Those that had all seeds so far and are still in it, the leader first."""
    still = sorted((one for one in known if len(one.seeds) == seeds and one.needs), key=lambda one: one.cost)
    if not still:
        return []
    if seeds == 1:
        return [one for one in still if one.cost <= (1 + NEAR) * still[0].cost][:MOST_NEAR]
    return [one for one in still if one is still[0] or seeds < FIRST_TESTED or not told_apart(still[0], one)]


def _run(known: dict[Arm, Contender], trials: Sequence[Trial], jobs: int | None, told: Told, stage: str) -> None:
    told(stage, 0, len(trials), list(known.values()))
    for done, (index, tried) in enumerate(run_all(attempt, trials, jobs=jobs), 1):
        trial = trials[index]
        known[trial.arm] = _with(known[trial.arm], trial.seed, tried)
        told(stage, done, len(trials), list(known.values()))


def _with(one: Contender, seed: int, tried: Tried) -> Contender:
    if tried.faults:
        return replace(one, faults=tried.faults)
    return replace(one, seeds={**one.seeds, seed: tried.found}, runs=one.runs + tried.runs)


def _ordered(known: Mapping[Arm, Contender]) -> list[Contender]:
    """By cost, on the seeds that each had in common with the leader."""
    most = max(len(one.seeds) for one in known.values())
    leader = min((one for one in known.values() if len(one.seeds) == most), key=lambda one: one.cost)

    def place(one: Contender) -> tuple[float, object]:
        both = min(len(one.needs), len(leader.needs))
        if not both:
            return one.cost, (one.arm.candidate.configuration, one.arm.policy, one.arm.knobs)
        apart, _, _ = difference([one.price * x for x in one.needs[:both]], [leader.price * x for x in leader.needs[:both]])
        return leader.cost * math.exp(apart), (one.arm.candidate.configuration, one.arm.policy, one.arm.knobs)

    return sorted(known.values(), key=place)
