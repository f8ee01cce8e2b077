"""A/B experiments: both arms run under the same seeds, so that arrivals, lengths, noise and draws are the same in both.

Common random numbers hold by construction: every stream is named (``policies.streams``) by what it is for, a workload entry, an
engine's step, a request, and never by what else the run contains. Two scenarios that share entries therefore share their requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sim.backends import run_all
from sim.run import simulate
from traces.build import build_workload
from traces.compare import Comparison, Pair, conclude, pair
from traces.controls import DRAWS_PER_SEED, Controls
from traces.divergence import Divergence, divergences, telling
from traces.errors import InputError
from traces.metrics import summarise
from traces.paired import ENOUGH_SEEDS
from traces.record import Record, check_target
from traces.scenario import Scenario, load_scenario
from traces.scenario.sweep import parse_axis


@dataclass(frozen=True, slots=True)
class Arm:
    """A scenario file with overrides. ``name``: what it is called in the comparison."""

    name: str
    scenario: Path
    sets: tuple[str, ...] = ()

    def run(self, seed: int, *extra: str, stop_s: float = float("inf")) -> Record:
        """One run of it."""
        return simulate(load_scenario(self.scenario, (*self.sets, *extra, f"seed={seed}")), stop_s=stop_s)


@dataclass(frozen=True, slots=True)
class Experiment:
    """What came out. ``warnings``: of the runs of each arm, with how many of them; ``divergences``: in the first seed."""

    comparison: Comparison
    warnings: Sequence[str]
    divergences: Sequence[Divergence]


def arms(a: Path, b: Path | None, vary: str | None, sets: Sequence[str] = ()) -> tuple[Arm, Arm]:
    """Two scenario files, or one with two values of a field, ``KEY=a,b``; ``sets`` hold in both.

    Raises:
        InputError: neither of the two is given, or both; or the field does not get two different values.
    """
    if b is not None and vary is None:
        names = (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))
        return Arm(names[0], a, tuple(sets)), Arm(names[1], b, tuple(sets))
    if b is not None or vary is None:
        raise InputError("compare: takes two scenario files, or one file and --vary KEY=a,b")
    axis = parse_axis(vary)
    if len(set(axis.values)) != 2 or len(axis.values) != 2:
        raise InputError(
            f"--vary {vary}: does not name two values; a comparison has two arms, a sweep (`twinserve sweep`) any number"
        )
    one, other = (Arm(_called(axis.key, value), a, (*sets, f"{axis.key}={value}")) for value in axis.values)
    return one, other


def _called(key: str, value: str) -> str:
    """A name speaks for itself; a number does not."""
    return value if value[:1].isalpha() and key.startswith("policy") else f"{key.rpartition('.')[2]}={value}"


def experiment(
    a: Arm,
    b: Arm,
    seeds: int,
    *,
    first_seed: int | None = None,
    jobs: int | None = None,
    out: Path | None = None,
    explain: int = 2,
    watch: Callable[[int, int], None] | None = None,
) -> Experiment:
    """Run both arms with ``seeds`` consecutive seeds and compare.

    ``first_seed``: default A's own. ``jobs``: processes, one per core unless given; 1 is this one.
    ``out``: a folder for the records, ``a-<seed>`` and ``b-<seed>``. ``explain``: how many diverging decisions to show, which takes
    a short second run of the first seed. ``watch`` is told how many of the seeds are done. The result does not depend on ``jobs``.

    Raises:
        InputError: an arm cannot be run, or the arms do not serve the same requests.
    """
    loaded = [load_scenario(arm.scenario, arm.sets) for arm in (a, b)]
    start = loaded[0].seed if first_seed is None else first_seed
    numbers = list(range(start, start + seeds))
    if out is not None:
        for path in (_place(out, name, seed) for seed in numbers for name in "ab"):
            check_target(path)
    done: dict[int, _Outcome] = {}
    tasks = [_Task(a, b, seed, out) for seed in numbers]
    for index, outcome in run_all(_play, tasks, jobs=1 if seeds == 1 else jobs):
        if isinstance(outcome, InputError):
            raise outcome
        done[numbers[index]] = outcome
        if watch is not None:
            watch(len(done), seeds)
    pairs = [done[seed].pair for seed in numbers]
    controls = workload_controls(a, numbers, jobs) if seeds >= ENOUGH_SEEDS else None
    comparison = conclude(pairs, (a.name, b.name), controls)
    warnings = [
        *_counted(a.name, [done[s].warnings[0] for s in numbers]),
        *_counted(b.name, [done[s].warnings[1] for s in numbers]),
    ]
    return Experiment(comparison, warnings, first_divergences(a, b, pairs[0], explain) if explain else [])


def first_divergences(a: Arm, b: Arm, found: Pair, most: int = 2) -> list[Divergence]:
    """Run a pair's seed again with full decision logs, up to the moment at which enough requests have gone different ways."""
    if not found.apart:
        return []
    stop_s = found.apart[-1][1]
    one, other = (arm.run(found.seed, "decisions=full", "sim.steps=off", stop_s=stop_s) for arm in (a, b))
    return telling(divergences(one, other, len(found.apart)), most)


def workload_controls(arm: Arm, seeds: Sequence[int], jobs: int | None = None) -> Controls:
    """The measured prompt and output tokens that each of consecutive ``seeds`` offers, and those of many seeds after them."""
    scenario = load_scenario(arm.scenario, arm.sets)
    further = range(seeds[-1] + 1, seeds[-1] + 1 + DRAWS_PER_SEED * len(seeds))
    found = dict(run_all(partial(offered_tokens, scenario), [*seeds, *further], jobs=jobs))
    rows = np.array([found[i] for i in range(len(found))], np.float64)
    return Controls(rows[: len(seeds)], rows[len(seeds) :])


def offered_tokens(scenario: Scenario, seed: int) -> tuple[int, int]:
    """Prompt and output tokens of the requests that arrive after the warm-up under this seed."""
    workload = build_workload(scenario.model_copy(update={"seed": seed})).workload
    measured = workload.arrival_s >= scenario.warmup_s
    return int(workload.prompt_tokens[measured].sum()), int(workload.output_tokens[measured].sum())


@dataclass(frozen=True, slots=True)
class _Outcome:
    pair: Pair
    warnings: tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Task:
    a: Arm
    b: Arm
    seed: int
    out: Path | None


def _play(task: _Task) -> _Outcome | InputError:
    """Runs in a worker, which must not raise."""
    try:
        names, records = "ab", [arm.run(task.seed) for arm in (task.a, task.b)]
        if task.out is not None:
            records = [r.write(_place(task.out, name, task.seed)) for name, r in zip(names, records, strict=True)]
        first, second = (summarise(record).warnings for record in records)
        return _Outcome(pair(records[0], records[1], (task.a.name, task.b.name)), (first, second))
    except InputError as error:
        return error


def _place(out: Path, arm: str, seed: int) -> Path:
    return out / f"{arm}-{seed}"


def _counted(name: str, warnings: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each kind of warning once, in the words of the first run that has it."""
    first: dict[str, str] = {}
    count: dict[str, int] = {}
    for run in warnings:
        for kind, warning in {_kind(w): w for w in run}.items():
            first.setdefault(kind, warning)
            count[kind] = count.get(kind, 0) + 1
    for kind, warning in first.items():
        yield f"{name}" + (f" ({count[kind]} of {len(warnings)} runs)" if len(warnings) > 1 else "") + f": {warning}"


def _kind(warning: str) -> str:
    """A warning without its numbers."""
    return "".join(c for c in warning if not c.isdigit())[:60]
