"""What a study found: the best configuration, how it fared when tested again, and whether it is worth a change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from figures.tuning.objectives import Objective
from figures.tuning.study import DEFAULT, Plan, Trial, Tuning
from figures.tuning.trials import Outcome
from traces.errors import InputError

_MOST_TESTED = 3
"""Trials that are tested again, the best first, until one survives."""


def ranked(trials: Sequence[Trial], maximise: Sequence[bool]) -> list[Trial]:
    """Trials that lived, the best first: of several objectives by the geometric mean of how many times better each is."""

    def merit(trial: Trial) -> float:
        pairs = zip(trial.values or (), maximise, strict=True)
        return sum((1 if up else -1) * math.log(max(value, 1e-9)) for value, up in pairs)

    return sorted((trial for trial in trials if trial.values is not None), key=merit, reverse=True)


def front_of(trials: Sequence[Trial], maximise: Sequence[bool]) -> list[Trial]:
    """Trials that no other beats in all objectives, by the first one."""
    import numpy as np

    from policies.scoot.acquisition import pareto

    alive = [trial for trial in trials if trial.values is not None]
    if not alive:
        return []
    signs = np.array([-1.0 if up else 1.0 for up in maximise])
    costs = signs * np.array([trial.values for trial in alive])
    return sorted((trial for trial, kept in zip(alive, pareto(costs), strict=True) if kept), key=lambda trial: trial.values or ())


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A trial that did better than the best, and did not survive being tested again."""

    trial: Trial
    tested: Sequence[Outcome]

    @property
    def failures(self) -> list[str]:
        """Of the tests that it did not survive."""
        return [outcome.failure for outcome in self.tested if outcome.values is None]


@dataclass(frozen=True, slots=True)
class Result:
    """``best``: of the trials that survived being tested again; the default's where none did that was better.

    ``tested``, ``default_tested``: the best and the default configuration under traffic that no trial had.
    """

    plan: Plan
    world: str
    trials: Sequence[Trial]
    best: Trial
    tested: Sequence[Outcome]
    default_tested: Sequence[Outcome]
    passed_over: Sequence[PassedOver] = ()
    resumed: int = 0

    @property
    def maximise(self) -> list[bool]:
        """Per objective."""
        return [objective.maximise for objective in self.plan.objectives]

    @property
    def default(self) -> Trial:
        """The reference."""
        return self.trials[DEFAULT]

    @property
    def failed(self) -> list[Trial]:
        """Trials whose engines did not survive."""
        return [trial for trial in self.trials if trial.values is None]

    @property
    def left_band(self) -> list[Trial]:
        """Of a canary study: trials in which something guarded got worse than it may, crashes included."""
        canary, reference = self.plan.canary, self.default.guarded
        if canary is None:
            return []
        return [
            trial
            for trial in self.trials
            if trial.values is None or any(cost > base * (1 + canary) for cost, base in zip(trial.guarded, reference, strict=True))
        ]

    def worst(self, outcomes: Sequence[Outcome]) -> list[float | None]:
        """Per objective the worst of the re-tests, as the paper reports an SLO; unknown where one of them crashed."""
        found: list[float | None] = []
        for i, up in enumerate(self.maximise):
            values = [None if outcome.values is None else outcome.values[i] for outcome in outcomes]
            known = [value for value in values if value is not None]
            found.append(None if not known or len(known) < len(values) else min(known) if up else max(known))
        return found

    def gains(self) -> list[float | None]:
        """Per objective, worst of the re-tests over the default's: 0.1 = larger by a tenth."""
        pairs = zip(self.worst(self.tested), self.worst(self.default_tested), strict=True)
        return [None if ours is None or not base else ours / base - 1 for ours, base in pairs]

    @property
    def holds(self) -> bool:
        """Whether, tested again, the best configuration is better than the default in some objective and worse in none."""
        better = [None if gain is None else gain if up else -gain for gain, up in zip(self.gains(), self.maximise, strict=True)]
        known = [gain for gain in better if gain is not None]
        return len(known) == len(better) and min(known) >= 0 < max(known) and self.best.number != DEFAULT


def conclude(tuning: Tuning, world: str, retests: int) -> Result:
    """Test the study's best and its default configuration again.

    Raises:
        InputError: nothing survived.
    """
    plan, trials = tuning.plan, tuning.trials()
    if all(trial.values is None for trial in trials):
        raise InputError(f"tune: none of {len(trials)} trials survived; the default configuration says: {trials[DEFAULT].failure}")
    best, tested, passed_over = survivor(tuning, retests)
    return Result(plan, world, trials, best, tested, tuning.retest(trials[DEFAULT], retests), passed_over, tuning.resumed)


def survivor(tuning: Tuning, retests: int) -> tuple[Trial, list[Outcome], list[PassedOver]]:
    """The best trial that survives being tested ``retests`` times again, its tests, and better ones that did not.

    A trial is one draw of luck, and an engine at the edge of its memory may well live through it: the worst case of such a
    configuration, which is what the paper reports, is a crash. ``_MOST_TESTED`` configurations are tested at most; then, or where
    no other is better, it is the default.
    """
    trials = tuning.trials()
    default, passed_over = trials[DEFAULT], list[PassedOver]()
    for trial in ranked(trials, [objective.maximise for objective in tuning.plan.objectives]):
        if trial.config == default.config or len(passed_over) == _MOST_TESTED:
            break
        if all(trial.config != other.trial.config for other in passed_over):
            tested = tuning.retest(trial, retests)
            if all(outcome.values is not None for outcome in tested):
                return trial, tested, passed_over
            passed_over.append(PassedOver(trial, tested))
    return default, tuning.retest(default, retests), passed_over


def to_json(result: Result) -> dict[str, Any]:
    """One object; unknown is null."""
    plan = result.plan
    return {
        "world": result.world,
        "objectives": [{"name": o.name, "metric": o.metric, "maximise": o.maximise} for o in plan.objectives],
        "sampler": plan.sampler,
        "seed": plan.seed,
        "space": {knob.name: getattr(knob, "values", None) or [knob.low, knob.high] for knob in plan.space.knobs},  # type: ignore[union-attr]
        "default": _trial(result.default, plan.objectives),
        "best": _trial(result.best, plan.objectives)
        | {
            "worst_of_retests": result.worst(result.tested),
            "default_worst_of_retests": result.worst(result.default_tested),
            "gain": result.gains(),
            "holds": result.holds,
        },
        "passed_over": [
            _trial(one.trial, plan.objectives) | {"retests": len(one.tested), "failures": one.failures}
            for one in result.passed_over
        ],
        "front": [trial.number for trial in front_of(result.trials, result.maximise)],
        "invalid": len(result.failed),
        "canary": None if plan.canary is None else {"share": plan.canary, "left": [trial.number for trial in result.left_band]},
        "resumed": result.resumed,
        "trials": [_trial(trial, plan.objectives) for trial in result.trials],
    }


def _trial(trial: Trial, objectives: Sequence[Objective]) -> dict[str, Any]:
    names = [objective.name for objective in objectives]
    values: dict[str, float | None] = dict.fromkeys(names) if trial.values is None else dict(zip(names, trial.values, strict=True))
    return {"number": trial.number, "config": trial.config, "values": values, "failure": trial.failure or None}
