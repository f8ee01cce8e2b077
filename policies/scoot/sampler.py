"""SCOOT as an Optuna sampler: ask it for the next configuration, tell the study what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc
from threadpoolctl import threadpool_limits

from policies.scoot.acquisition import (
    exploration,
    hypervolume_improvement,
    log_expected_improvement,
    log_probability_of_improvement,
    lower_confidence_bound,
    pareto,
)
from policies.scoot.canary import GUARDED, beyond, step_aside, within
from policies.scoot.candidates import pareto_set
from policies.scoot.feasibility import probability_of_feasibility, threshold
from policies.scoot.space import Levels, LogLevels, Space
from policies.scoot.surrogate import Surrogate
from policies.streams import Stream, generator

Floats = NDArray[np.float64]

_MOST_DRAWS = 256
_BELIEFS = 64
"""Draws from the posterior for the expected hypervolume improvement (the paper's code takes 10)."""


@dataclass(frozen=True, slots=True)
class _History:
    """Finished and pending trials as arrays; objectives are signed so that small is good. ``guarded``: of the good ones."""

    points: Floats
    survived: list[bool]
    good: Floats
    objectives: Floats
    guarded: list[list[float]]
    pending: Floats


class ScootSampler(BaseSampler):
    """Suggests engine configurations that keep the known rules, are likely to survive, and promise most.

    The first trial is the space's default configuration. Until ``initial`` trials have succeeded, suggestions are a scrambled
    Sobol sequence, repaired. Then, with Gaussian processes on the successful trials:

    - one objective: a draw from the Pareto set of three acquisition functions, lower confidence bound, expected improvement
      and probability of improvement (MACE);
    - two or three: the largest expected hypervolume improvement over the default configuration, among the Pareto set of the
      objectives' lower confidence bounds.

    Either way only among points whose probability of feasibility, by a random forest on all trials, reaches the adaptive
    threshold Δ. A trial that failed (state FAIL) is a crash: it has no value and teaches the forest. Trials that still run are
    taken to turn out as predicted. A suggestion depends on the seed and the study's trials alone, so a resumed study goes on as
    if it had never stopped.

    ``hidden=False`` leaves the forest out, which is the paper's baseline of vanilla Bayesian optimisation; ``known=False`` leaves
    out the repair. ``canary``: stay near the default configuration, as ``policies.scoot.canary`` says; a share, such as 0.1.

    Source: SCOOT, arXiv 2408.04323 §4, and its code (Ketonmi/SCOOT); MACE: Lyu et al., ICML 2018.
    """

    def __init__(
        self, space: Space, *, seed: int, initial: int = 10, hidden: bool = True, known: bool = True, canary: float | None = None
    ) -> None:
        self.space = space if known else Space(space.knobs, (), space.default)
        self.seed = seed
        self.initial = initial
        self.hidden = hidden
        self.canary = canary

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions(self.space)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        history = self._history(study, trial)
        if not len(history.points) and not len(history.pending):
            return dict(self.space.default)
        rng = generator(self.seed, "scoot", trial.number)
        if len(history.good) < self.initial:
            if self.canary is not None:
                return step_aside(self.space, self._safest(history), np.concatenate([history.points, history.pending]), rng)
            return self._designed(trial.number, rng)
        with threadpool_limits(1):  # matrices of some dozen rows: more threads only wait for each other
            return self.space.config(self._promising(history, rng))

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        raise ValueError(f"{name} is not a knob of the space that this study tunes")

    # --- what has been seen -------------------------------------------------------------------------------------------

    def _history(self, study: Study, trial: FrozenTrial) -> _History:
        names = {knob.name for knob in self.space.knobs}
        sign = np.array([-1.0 if way is StudyDirection.MAXIMIZE else 1.0 for way in study.directions])
        points, survived, good, objectives, guarded, pending = [], [], [], [], [], []
        for other in study.get_trials(deepcopy=False):
            if other.number == trial.number or set(other.params) != names:
                continue
            point = self.space.unit(other.params)
            if other.state is TrialState.RUNNING:
                pending.append(point)
            elif other.state is TrialState.COMPLETE:
                points.append(point)
                survived.append(True)
                good.append(point)
                objectives.append(sign * np.array(other.values))
                guarded.append(list(other.user_attrs.get(GUARDED, ())))
            elif other.state is TrialState.FAIL:
                points.append(point)
                survived.append(False)
        wide = (-1, len(self.space.knobs))
        return _History(
            np.array(points).reshape(wide),
            survived,
            np.array(good).reshape(wide),
            np.array(objectives).reshape(-1, len(sign)),
            guarded,
            np.array(pending).reshape(wide),
        )

    # --- what to try next ---------------------------------------------------------------------------------------------

    def _designed(self, number: int, rng: Stream) -> dict[str, Any]:
        """The ``number``-th point of the design; where a repair leads out of an operator's bounds, a later one."""
        sequence = qmc.Sobol(len(self.space.knobs), seed=int(generator(self.seed, "scoot", "design").integers(2**31)))
        if number:
            sequence.fast_forward(number)
        for _ in range(_MOST_DRAWS):
            config = dict(self.space.repaired(self.space.config(sequence.random(1)[0]), float(rng.random())))
            if self.space.allows(config):
                return config
        return dict(self.space.default)

    def _promising(self, history: _History, rng: Stream) -> Floats:
        models = [Surrogate(history.good, column, seed=int(rng.integers(2**31))) for column in history.objectives.T]
        observed = np.column_stack([model.values for model in models])
        reference = self._reference(history, observed)
        if len(history.pending):
            for model in models:
                model.believe(history.pending)
        risk = None
        if self.canary is not None:
            risk = beyond(self.space, history.good, np.array(history.guarded), self._at_default(history), self.canary, rng)
        delta, lived = (threshold(history.survived), history.survived) if self.hidden else (0.0, [True] * len(history.points))
        feasibility = probability_of_feasibility(history.points, lived, seed=int(rng.integers(2**31)))
        kappa = exploration(len(history.good), len(self.space.knobs)) if len(models) == 1 else 2.0

        def predicted(points: Floats) -> tuple[Floats, Floats]:
            pairs = [model.predict(points) for model in models]
            return np.column_stack([mean for mean, _ in pairs]), np.column_stack([deviation for _, deviation in pairs])

        best = models[0].best

        def costs(points: Floats) -> Floats:
            mean, deviation = predicted(points)
            bound = lower_confidence_bound(mean, deviation, kappa=kappa)
            if len(models) == 1:
                scores = np.column_stack(
                    [
                        bound[:, 0],
                        -log_expected_improvement(mean[:, 0], deviation[:, 0], best),
                        -log_probability_of_improvement(mean[:, 0], deviation[:, 0], best),
                    ]
                )
            else:
                scores = bound
            lacking = np.maximum(0.0, delta - feasibility(points))
            if risk is not None:
                lacking += risk(points)
            return scores + 1e6 * lacking[:, None]  # whoever is likely to crash is beaten by all who are not

        tried = np.concatenate([history.points, history.pending])
        known = history.good[pareto(observed)] if risk is None else history.good
        points, _ = pareto_set(self.space, costs, known, tried, rng)
        if not len(points):  # every configuration has been tried
            points = history.good
        if len(models) == 1:
            drawn: Floats = points[rng.integers(len(points))]
            return drawn
        mean, deviation = predicted(points)
        normal = rng.standard_normal((_BELIEFS, 1, len(models)))
        gain = hypervolume_improvement(mean + deviation * normal, observed, reference).mean(axis=0)
        chosen: Floats = points[int(np.argmax(gain))]
        return chosen

    def _reference(self, history: _History, observed: Floats) -> Floats:
        """The default configuration's objectives in the models' units; where it crashed, the worst that was seen."""
        default = self._at_default(history)
        reference: Floats = observed.max(axis=0) if default is None else observed[default]
        return reference

    def _at_default(self, history: _History) -> int | None:
        """The row of the default configuration among the good ones."""
        rows = np.flatnonzero((history.good == self.space.unit(self.space.default)).all(axis=1))
        return int(rows[0]) if len(rows) else None

    def _safest(self, history: _History) -> Floats:
        """The good configuration that is best in the first objective among those within the band, else the default."""
        default = self._at_default(history)
        assert self.canary is not None
        if default is None:
            return self.space.unit(self.space.default)
        inside = within(np.array(history.guarded), default, self.canary)
        safest: Floats = history.good[inside][int(np.argmin(history.objectives[inside, 0]))]
        return safest


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's terms, for its own samplers and its storage. A knob with few numbers is a range of all between them,
    as Optuna has no other axis that is both logarithmic and in order."""
    return {
        knob.name: CategoricalDistribution(knob.values)
        if isinstance(knob, Levels)
        else IntDistribution(knob.low, knob.high, log=True)
        for knob in space.knobs
    }


def ask(trial: Any, space: Space) -> dict[str, Any]:
    """The configuration that the study's sampler suggests for ``trial``, each number moved to the nearest that its knob takes."""
    config: dict[str, Any] = {}
    for knob in space.knobs:
        if isinstance(knob, Levels):
            config[knob.name] = trial.suggest_categorical(knob.name, knob.values)
            continue
        suggested = trial.suggest_int(knob.name, knob.low, knob.high, log=True)
        config[knob.name] = knob.nearest(suggested) if isinstance(knob, LogLevels) else suggested
    return config
