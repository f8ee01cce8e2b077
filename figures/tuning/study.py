"""A study: trials asked of a sampler and tried in a black box, in batches, and kept so that a kill loses none of them.

Everything a study knows stands in its storage, and a suggestion depends on the seed and on what is stored. A study that was killed
goes on with the same command: trials that were under way are tried again with their configuration, one that was still being asked
for is asked for again under its number, and the rest follows as if nothing had happened. The trials of a batch are told in their
order, whichever ends first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.tuning.objectives import Objective
from figures.tuning.samplers import UNRULED, sampler
from figures.tuning.trials import Outcome
from policies.scoot.canary import GUARDED
from policies.scoot.space import Config, Space
from policies.streams import generator
from traces.errors import InputError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as Begun

_NAME = "twinserve"
_SEED = "seed"
_CONFIG, _FAILURE, _METRICS, _RETESTS = "config", "failure", "metrics", "retests"
DEFAULT = 0
"""Number of the trial of the configuration that the scenario has: the reference."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished trial. ``config``: what was tried; ``values``: one per objective, ``None`` = it did not survive."""

    number: int
    config: dict[str, Any]
    values: tuple[float, ...] | None
    failure: str = ""
    guarded: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study is asked for. ``parallel``: trials of a batch. ``canary``: share by which nothing guarded may get worse.

    ``first``: configurations to try right after the default one, such as another study's best. ``about``: what must be the same
    for a stored study to go on.
    """

    space: Space
    objectives: Sequence[Objective]
    trials: int
    sampler: str = "scoot"
    seed: int = 0
    parallel: int = 1
    canary: float | None = None
    first: Sequence[Config] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


Evaluate = Callable[[Sequence[tuple[Config, int]]], Sequence[Outcome]]
"""Tries (configuration, seed) pairs, side by side where it can."""
Watch = Callable[[Trial], None]


class Tuning:
    """A study under way. ``storage``: a SQLite file; ``None`` keeps it in memory."""

    def __init__(self, plan: Plan, evaluate: Evaluate, storage: Path | None = None) -> None:
        self.plan = plan
        self._evaluate = evaluate
        self._study = _opened(plan, storage)
        self.resumed = len(self.trials())
        """Trials that the storage held already."""

    def run(self, watch: Watch | None = None) -> list[Trial]:
        """Go on until the plan's trials are done, or the sampler has no more to suggest; all trials, by number."""
        while batch := self._batch():
            self._try(batch, watch)
        return self.trials()

    def trials(self) -> list[Trial]:
        """Those that are done."""
        return [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False) if _done(frozen)]

    def retest(self, trial: Trial, times: int) -> list[Outcome]:
        """The trial's configuration under fresh traffic, so many times; kept in the storage."""
        known = self._study.user_attrs.get(_RETESTS, {})
        key = str(trial.number)
        if len(known.get(key, ())) < times:
            # From 10⁶ on, so that no trial has had the traffic.
            seeds = [self.plan.seed + 1_000_000 + 1000 * trial.number + i for i in range(times)]
            found = self._evaluate([(trial.config, seed) for seed in seeds])
            kept = [{"values": o.values, "failure": o.failure, "metrics": dict(o.metrics)} for o in found]
            self._study.set_user_attr(_RETESTS, {**known, key: kept})
            known = self._study.user_attrs[_RETESTS]
        return [
            Outcome(None if one["values"] is None else tuple(one["values"]), one["failure"], metrics=one["metrics"])
            for one in known[key][:times]
        ]

    # --- trials -------------------------------------------------------------------------------------------------------

    def _batch(self) -> list[tuple[int, Config]]:
        """What to try next: number and configuration of the trials that a kill left under way and of what their batch still lacks,
        or of a new batch. Empty when the study is done."""
        from optuna.trial import Trial as Begun
        from optuna.trial import TrialState

        batch = [
            (frozen.number, dict(frozen.user_attrs[_CONFIG]))
            if _CONFIG in frozen.user_attrs
            else self._suggested(Begun(self._study, frozen._trial_id))
            for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        done = len(self.trials())
        if batch:
            size = self._lacking(max(number for number, _ in batch))
        else:
            size = 0 if self._used_up() else 1 if done == DEFAULT else self.plan.parallel  # the reference comes first
        more = range(min(size, self.plan.trials - done - len(batch)))
        return batch + [self._suggested(self._study.ask()) for _ in more]

    def _lacking(self, last: int) -> int:
        """Trials that follow ``last`` in its batch: the reference is one of its own, the others are of equal size."""
        return 0 if last == DEFAULT else self.plan.parallel - 1 - (last - DEFAULT - 1) % self.plan.parallel

    def _suggested(self, trial: Begun) -> tuple[int, Config]:
        """Number and configuration of a trial that has just been asked for, or that a kill left before it had one: what it was
        given already it keeps."""
        from policies.scoot.sampler import ask

        config = ask(trial, self.plan.space)
        if self.plan.sampler not in UNRULED:
            draw = float(generator(self.plan.seed, "repair", trial.number).random())
            config = _repaired(self.plan.space, config, draw)
        trial.set_user_attr(_CONFIG, config)
        return trial.number, config

    def _try(self, asked: Sequence[tuple[int, Config]], watch: Watch | None) -> None:
        from optuna.trial import TrialState

        outcomes = self._evaluate([(config, self.plan.seed + number) for number, config in asked])
        ids = {frozen.number: frozen._trial_id for frozen in self._study.get_trials(deepcopy=False)}
        for (number, config), outcome in zip(asked, outcomes, strict=True):
            storage = self._study._storage
            for name, value in (
                (_FAILURE, outcome.failure),
                (GUARDED, list(outcome.guarded)),
                (_METRICS, dict(outcome.metrics)),
            ):
                storage.set_trial_user_attr(ids[number], name, value)
            if outcome.values is None:
                self._study.tell(number, state=TrialState.FAIL)
            else:
                self._study.tell(number, list(outcome.values))
            if watch is not None:
                watch(Trial(number, dict(config), outcome.values, outcome.failure, outcome.guarded, outcome.metrics))

    def _used_up(self) -> bool:
        from policies.scoot.autotune import AutoTuneSampler

        chosen = self._study.sampler
        states = [frozen.state for frozen in self._study.get_trials(deepcopy=False)]
        return isinstance(chosen, AutoTuneSampler) and bool(states) and chosen.used_up(states)


def _repaired(space: Space, config: Config, draw: float) -> dict[str, Any]:
    """``config`` made to keep the rules, by the repair that ``draw`` chooses or another one; the default configuration where all
    repairs lead out of the knobs' values, which an operator has bounded."""
    ways = (dict(space.repaired(config, one)) for one in (draw, 1 - draw))
    return next((way for way in ways if space.allows(way)), dict(space.default))


def _done(frozen: FrozenTrial) -> bool:
    return frozen.state.is_finished() and _FAILURE in frozen.user_attrs


def _trial(frozen: FrozenTrial) -> Trial:
    told = frozen.user_attrs
    values = None if told[_FAILURE] or frozen.values is None else tuple(frozen.values)
    return Trial(frozen.number, dict(told[_CONFIG]), values, told[_FAILURE], tuple(told[GUARDED]), told[_METRICS])


def _opened(plan: Plan, storage: Path | None) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = ["maximize" if objective.maximise else "minimize" for objective in plan.objectives]
    study = optuna.create_study(
        storage=None if storage is None else _sqlite(storage),
        study_name=_NAME,
        directions=directions,
        load_if_exists=True,
    )
    study.sampler = sampler(plan.sampler, plan.space, seed=plan.seed, done=len(study.trials), canary=plan.canary)
    about = json.loads(json.dumps({**plan.about, "directions": directions, "sampler": plan.sampler, _SEED: plan.seed}))
    known = study.user_attrs.get("about")
    if known is None:
        study.set_user_attr("about", about)
    elif known != about:
        differ = sorted(key for key in {*known, *about} if known.get(key) != about.get(key))
        raise InputError(f"{storage}: holds another study (it differs in {', '.join(differ)}); choose another file with --storage")
    if all(frozen.state is optuna.trial.TrialState.WAITING for frozen in study.get_trials(deepcopy=False)):
        for config in (plan.space.default, *plan.first):
            study.enqueue_trial(dict(config), skip_if_exists=True)
    return study


def stored(path: Path) -> list[Trial]:
    """The finished trials of a study in a file.

    Raises:
        InputError: there is no file, or it holds no study.
    """
    import optuna

    if not path.is_file():
        raise InputError(f"{path}: no such file; name the --storage of an earlier study")
    try:
        study = optuna.load_study(study_name=_NAME, storage=_sqlite(path))
    except Exception:  # of SQLAlchemy, which need not be a study's storage, and of Optuna
        raise InputError(f"{path}: holds no study of `twinserve tune`; name the --storage of an earlier one") from None
    return [_trial(frozen) for frozen in study.get_trials(deepcopy=False) if _done(frozen)]


def _sqlite(path: Path) -> Any:
    import optuna

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.RDBStorage(f"sqlite:///{path}")
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot keep a study ({said}); choose another file with --storage") from None


@contextmanager
def alone(storage: Path | None) -> Iterator[None]:
    """Hold a study for this process, until it ends however it ends.

    Raises:
        InputError: another process runs it.
    """
    if storage is None:
        yield
        return
    import fcntl

    try:
        storage.parent.mkdir(parents=True, exist_ok=True)
        with storage.with_name(f"{storage.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{storage}: another process runs this study; wait for it, or use --parallel there") from None
            yield
    except OSError as error:
        raise InputError(f"{storage}: cannot be written ({error.strerror}); choose another file with --storage") from None
