"""Tuned in the simulator first: what of it is tried on real engines, and whether the two worlds rank configurations alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from figures.tuning.objectives import Objective
from figures.tuning.result import Result, ranked
from figures.tuning.trials import BlackBox, Outcome
from policies.scoot.feasibility import probability_of_feasibility
from policies.scoot.space import Config
from policies.scoot.surrogate import Surrogate
from policies.streams import generator

_DRAWN = 512
_LIKELY = 0.5
_SAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Carried:
    """One configuration in both worlds. ``why``: default, best or uncertain."""

    why: str
    config: Config
    simulated: Outcome
    real: Outcome


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spearman's rank correlation of an objective over configurations that survived in both worlds, with a 95 % bootstrap interval;
    unknown for fewer than three, or where all values of one world are equal."""

    objective: Objective
    correlation: float | None
    lo: float | None
    hi: float | None
    n: int


def candidates(result: Result, count: int) -> list[tuple[str, Config]]:
    """The default configuration, the best by the simulator, and a third of ``count`` of which it knows least. All are lawful, and
    none died when tested again."""
    chosen: list[tuple[str, Config]] = [("default", result.default.config)]
    unsure = max(0, count - 1) // 3
    died = [one.trial.config for one in result.passed_over]
    for trial in ranked(result.trials, result.maximise):
        if len(chosen) < count - unsure and trial.config not in (*died, *(config for _, config in chosen)):
            chosen.append(("best", trial.config))
    return chosen + [("uncertain", config) for config in _uncertain(result, unsure)]


def _uncertain(result: Result, count: int) -> list[Config]:
    """Untried lawful configurations that are likely to survive, in order of the surrogate's deviation."""
    space, seed = result.plan.space, result.plan.seed
    alive = [trial for trial in result.trials if trial.values is not None]
    if not count or len(alive) < 2:
        return []
    rng = generator(seed, "carry")
    drawn = space.lawful(rng.random((_DRAWN, len(space.knobs))), rng.random(_DRAWN).tolist())
    tried = {space.unit(trial.config).tobytes() for trial in result.trials}
    points = np.array([point for point in drawn if point.tobytes() not in tried]).reshape(-1, len(space.knobs))
    known = np.array([space.unit(trial.config) for trial in alive])
    model = Surrogate(known, np.array([(trial.values or (0.0,))[0] for trial in alive]), seed=int(rng.integers(2**31)))
    every = np.array([space.unit(trial.config) for trial in result.trials])
    survived = [trial.values is not None for trial in result.trials]
    likely = probability_of_feasibility(every, survived, seed=int(rng.integers(2**31)))
    points = points[likely(points) >= _LIKELY]
    if not len(points):
        return []
    order = np.argsort(-model.predict(points)[1], kind="stable")[:count]
    return [space.config(points[i]) for i in order]


def carried(chosen: Sequence[tuple[str, Config]], simulated: BlackBox, real: BlackBox, seed: int) -> list[Carried]:
    """Each configuration tried in both worlds with the same traffic."""
    return [Carried(why, config, simulated(config, seed), real(config, seed)) for why, config in chosen]


def agreements(found: Sequence[Carried], objectives: Sequence[Objective], seed: int) -> list[Agreement]:
    """Per objective."""
    pairs = [(one.simulated.values, one.real.values) for one in found]
    both = [(ours, real) for ours, real in pairs if ours is not None and real is not None]
    return [
        _agreement(objective, np.array([(ours[i], real[i]) for ours, real in both]).reshape(-1, 2), seed)
        for i, objective in enumerate(objectives)
    ]


def _agreement(objective: Objective, values: np.ndarray, seed: int) -> Agreement:
    n = len(values)
    correlation = _spearman(values)
    if correlation is None:
        return Agreement(objective, None, None, None, n)
    rng = generator(seed, "rank correlation")
    drawn = [_spearman(values[rng.integers(n, size=n)]) for _ in range(_SAMPLES)]
    known = [one for one in drawn if one is not None]
    lo, hi = np.quantile(known, [0.025, 0.975]).tolist()
    return Agreement(objective, correlation, lo, hi, n)


def _spearman(values: np.ndarray) -> float | None:
    from scipy.stats import rankdata

    if len(values) < 3 or (np.ptp(values, axis=0) == 0).any():
        return None
    ranks = rankdata(values, axis=0)
    return float(np.corrcoef(ranks.T)[0, 1])
