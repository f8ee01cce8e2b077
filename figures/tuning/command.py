"""`twinserve tune`: from options to a study, in one world or first in the simulator and then on real engines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures.tuning.carry import Carried, agreements, candidates, carried
from figures.tuning.evaluate import evaluator
from figures.tuning.knobs import overrides, space_of
from figures.tuning.objectives import parse_objectives
from figures.tuning.result import Result, conclude, front_of, ranked
from figures.tuning.study import DEFAULT, Plan, Trial, Tuning, alone, stored
from figures.tuning.trials import UNMEASURED, BlackBox, Real, Simulated
from policies.scoot.space import Config, LogLevels, Space
from traces.aside import aside
from traces.errors import InputError
from traces.fingerprints import read_fingerprint
from traces.hashes import hash_config
from traces.scenario import Scenario, load_scenario

WORLDS = ("sim", "replay", "sim-first")
_MOST_PARALLEL = 64
_WARM = 3
"""Configurations taken from an earlier study."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the verb was given; see its help."""

    scenario: Path
    world: str
    objective: str
    trials: int
    sampler: str
    seed: int | None
    parallel: int
    storage: Path | None
    bounds: Sequence[str] = ()
    also: Sequence[str] = ()
    canary: float | None = None
    warm_start: Sequence[Path] = ()
    sets: Sequence[str] = ()
    limit_s: float = 1800.0
    retests: int = 3
    carry: int = 6
    fingerprint: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``carried``: of sim-first, the candidates in both worlds."""

    options: Options
    result: Result
    carried: Sequence[Carried] = ()

    def agreements(self) -> list[Any]:
        """Rank correlation per objective; empty unless sim-first."""
        return agreements(self.carried, self.result.plan.objectives, self.result.plan.seed) if self.carried else []


def tune(options: Options, watch: Callable[[int, float | None], None] | None = None) -> Answer:
    """Run a study to its end, or on to it.

    Raises:
        InputError: an option does not make sense, the storage holds another study, or nothing survived.
    """
    loaded, objectives = load_scenario(options.scenario, options.sets), parse_objectives(options.objective)
    _check(options, loaded)
    sets = tuple(options.sets)
    measured = None if options.fingerprint is None else read_fingerprint(options.fingerprint)
    simulated = Simulated(options.scenario, objectives, sets, measured)
    real = Real(options.scenario, objectives, sets, options.limit_s)
    box: BlackBox = real if options.world == "replay" else simulated
    on_cpu = options.world != "sim" and _real_on_cpu(loaded)
    space = space_of(loaded, also=options.also, bounds=options.bounds, on_cpu=on_cpu)
    plan = Plan(
        space,
        objectives,
        options.trials,
        options.sampler,
        loaded.seed if options.seed is None else options.seed,
        options.parallel,
        options.canary,
        _warm(options.warm_start, space, objectives),
        {
            "scenario": hash_config(loaded.resolved()),
            "world": "replay" if options.world == "replay" else "sim",
            "objective": options.objective,
            "knobs": [repr(knob) for knob in space.knobs],
            "canary": options.canary,
        }
        | ({} if measured is None else {"fingerprint": measured.name}),
    )

    def told(trial: Trial) -> None:
        if trial.number == DEFAULT and trial.failure.startswith(UNMEASURED):
            raise InputError(
                f"--objective {options.objective}: {trial.failure}; goodput and attainment need an slo in the workload"
            )
        if trial.number == DEFAULT and options.canary is not None and not all(map(math.isfinite, trial.guarded)):
            raise InputError(
                "--canary: requests were left when the default configuration's run ended, so that nobody knows its latency; let "
                "them finish (duration, drain), or offer less"
            )
        if watch is not None:
            watch(trial.number, None if trial.values is None else trial.values[0])

    with alone(options.storage), evaluator(box, options.parallel) as evaluate:
        tuning = Tuning(plan, evaluate, options.storage)
        tuning.run(told)
        result = conclude(tuning, "real" if options.world == "replay" else "simulated", options.retests)
    if options.world != "sim-first":
        return Answer(options, result)
    return Answer(options, result, carried(candidates(result, options.carry), simulated, real, plan.seed))


def to_json(answer: Answer) -> dict[str, Any]:
    """One object."""
    from figures.tuning import result as room

    told = room.to_json(answer.result)
    best, default = answer.result.best.config, answer.result.default.config
    told["set"] = [one for one in overrides(best) if one not in overrides(default)]
    if answer.carried:
        names = [objective.name for objective in answer.result.plan.objectives]
        told["carried"] = [
            {"why": one.why, "config": one.config}
            | {
                world: {
                    "values": None if o.values is None else dict(zip(names, o.values, strict=True)),
                    "failure": o.failure or None,
                }
                for world, o in (("simulated", one.simulated), ("real", one.real))
            }
            for one in answer.carried
        ]
        told["rank_correlation"] = [
            {"objective": one.objective.name, "value": one.correlation, "lo": one.lo, "hi": one.hi, "n": one.n}
            for one in answer.agreements()
        ]
    return {"scenario": load_scenario(answer.options.scenario, answer.options.sets).name, **told}


def _check(options: Options, loaded: Scenario) -> None:
    if options.parallel > _MOST_PARALLEL:
        raise InputError(
            f"--parallel {options.parallel}: is more than {_MOST_PARALLEL}; trials side by side learn nothing of each other"
        )
    if options.parallel > options.trials:
        raise InputError(f"--parallel {options.parallel}: is more than {options.trials} --trials; lower it")
    if options.sampler == "auto-tune" and "+" in options.objective:
        raise InputError("--sampler auto-tune: makes one quantity large; give one --objective, or use another sampler")
    if options.canary is not None and options.canary <= 0:
        raise InputError("--canary 0: leaves nothing to try; give a share such as 10%")
    if options.world == "sim":
        return
    choice = loaded.replay
    mode = "managed" if choice is None else choice.engines
    if mode in ("attached", "virtual"):
        why = "are not ours to restart with other knobs" if mode == "attached" else "have no speed of their own"
        raise InputError(f"replay.engines: is {mode}, and those engines {why}; use managed or in-process")


def _real_on_cpu(loaded: Scenario) -> bool:
    from replay.knobs import device
    from traces.scenario.replay import Replay

    return device(loaded.replay or Replay()) == "cpu"


def _warm(paths: Sequence[Path], space: Space, objectives: Sequence[Any]) -> list[Config]:
    """The best of earlier studies that this space allows: of knobs that they did not have, the default's value, and of numbers
    that a knob does not take the nearest that it does."""
    levels = {knob.name: knob for knob in space.knobs if isinstance(knob, LogLevels)}
    found: list[Config] = []
    maximise = [objective.maximise for objective in objectives]
    for path in paths:
        alive = [trial for trial in stored(path) if trial.values is not None and len(trial.values) == len(maximise)]
        if not alive:
            raise InputError(f"--warm-start {path}: no trial there survived with {len(maximise)} objectives; leave it out")
        best = ranked(alive, maximise)
        chosen = best if len(maximise) == 1 else [best[0], *front_of(alive, maximise)]
        for trial in chosen:
            config = {**space.default, **{name: value for name, value in trial.config.items() if name in space.default}}
            config |= {name: knob.nearest(config[name]) for name, knob in levels.items()}
            if len(found) < _WARM * len(paths) and space.allows(config) and config not in (*found, dict(space.default)):
                found.append(config)
    return found


def write(answer: Answer, path: Path) -> None:
    """The JSON object as a file, all or nothing.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as temporary:
            temporary.write_text(json.dumps(to_json(answer), indent=1, ensure_ascii=False) + "\n", "utf-8")
            os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another file with --out") from None
