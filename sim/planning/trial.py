"""An arm of the contest in the simulator: what a worker is sent, and what it sends back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sim.planning.demand import at_load
from sim.planning.gauge import Gauge, Gauger
from sim.planning.question import Aim, Arm
from sim.planning.sizing import Ladder, loads, smallest
from traces.errors import InputError
from traces.scenario import load_scenario

TRIES = 10
LEAST_LOAD, MOST_LOAD = 1 / 16, 16.0
"""Times the load that an arm carries in closed form, between which the highest is looked for."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials share. ``sets``: the user's overrides."""

    path: Path
    sets: tuple[str, ...]
    goal: float
    aim: Aim
    gpus: Mapping[str, int]
    cache: Path | None

    def ladder(self, arm: Arm) -> Ladder:
        """Engines from one to as many as there are GPUs for, or loads."""
        if arm.engines is not None:
            return loads(LEAST_LOAD * arm.load, MOST_LOAD * arm.load)
        return Ladder(1, max(1, self.gpus[arm.candidate.configuration.gpu] // arm.each))


class Trial(NamedTuple):
    """Runs of an arm. ``cut``: overrides that shorten them, or make something else come than was said. ``seed``: added to the
    scenario's. ``start``: where to search; or ``rungs``: just these.
    """

    setting: Setting
    arm: Arm
    cut: tuple[str, ...]
    seed: int
    start: int = 0
    rungs: tuple[int, ...] = ()
    tries: int = TRIES


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it. ``faults``: it cannot be run."""

    found: Mapping[int, Gauge] = field(default_factory=dict)
    runs: int = 0
    faults: tuple[str, ...] = ()


def attempt(trial: Trial) -> Tried:
    """Runs in a worker."""
    setting, arm = trial.setting, trial.arm
    sets = (*setting.sets, *arm.deployed(), *trial.cut)
    try:
        scenario = load_scenario(setting.path, sets)
        gauger = Gauger(setting.path, sets, setting.goal, setting.cache)
        ladder = setting.ladder(arm)

        def run(rung: int) -> Gauge:
            if arm.engines is None:
                supply: Sequence[str] = (f"fleet.gpus={rung * arm.each}",)
            else:
                supply = (f"fleet.gpus={arm.engines * arm.each}", *at_load(scenario, 1 / ladder.supply(rung)))
            return gauger((*supply, f"seed={scenario.seed + trial.seed}"))

        if trial.rungs:
            found = {rung: run(rung) for rung in trial.rungs}
        else:
            found = smallest(run, trial.start, ladder, trial.tries)
        return Tried(found, gauger.runs)
    except InputError as error:
        return Tried(faults=tuple(error.faults))
