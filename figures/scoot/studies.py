"""The studies behind the figures: which, and how each is run.

All of it was fixed before any was run, but for three things. The first comparison was on ``INTEGERS``; ``TILES`` was made after its
results had been seen, with levels from NVIDIA's and vLLM's documents. ``UNRULED_BASELINES`` came then, too. ``LATER_SEEDS`` came
when ten seeds could not tell SCOOT from the best baseline. ``docs/scoot.md`` tells of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from figures.scoot.services import FOLDER, SERVICES
from figures.tuning.knobs import space_of
from figures.tuning.objectives import parse_objectives
from figures.tuning.result import survivor
from figures.tuning.study import DEFAULT, Plan, Trial, Tuning
from figures.tuning.trials import Outcome, Simulated
from policies.scoot.space import Config, LogIntegers, LogLevels, Space
from traces.scenario import load_scenario

TRIALS = 30
SEEDS = tuple(range(1, 11))
LATER_SEEDS = tuple(range(11, 25))
"""Of the comparison alone: how many was fixed, by what they cost, before one was run."""
RETESTS = 3
THROUGHPUT, LATENCIES = "throughput", "ttft+tpot"
SAMPLERS = ("scoot", "vanilla-bo", "tpe", "nsga2", "random")
COMPARED = (*SAMPLERS, "auto-tune")
SUFFIX = "-without-rules"
"""Of the name of a sampler that is not given vLLM's known rules."""
WITHOUT_RULES = f"scoot{SUFFIX}"
UNRULED_BASELINES = tuple(f"{name}{SUFFIX}" for name in SAMPLERS[1:])
"""The baselines, not given vLLM's known rules."""
TILES, INTEGERS = "tiles", "integers"
"""Spaces: the default one, and one that differs in ``max_num_batched_tokens``, which takes all whole numbers, as in the paper."""
DIED = "retest-died"
"""Kind of the record's rows that tell re-tests of a configuration that did not survive them: the next best was tested then."""
PARALLEL_SERVICE = "bot"
"""The one service on which the parallel degree is varied."""
_STEADY_REQUESTS = 300
PAPER_DEFAULT: Config = {
    "enable_chunked_prefill": False,
    "enable_prefix_caching": False,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 4096,
    "gpu_memory_utilization": 0.9,
}
"""What vLLM 0.4.2 starts with: the default of the paper. The other knobs are as today."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One study."""

    service: str
    objective: str
    sampler: str
    seed: int
    parallel: int = 1
    space: str = TILES

    @property
    def scenario(self) -> Path:
        return FOLDER / f"{self.service}.yaml"

    @property
    def sets(self) -> tuple[str, ...]:
        """Throughput is taken in the file's closed loop; latencies under Poisson arrivals at a steady rate."""
        if self.objective == THROUGHPUT:
            return ()
        entry = f"workload.{self.service}"
        steady = SERVICES[self.service].steady_per_s
        load = (
            f"{entry}.load=null",
            f"{entry}.arrivals=poisson",
            f"{entry}.rate={steady}/s",
            f"{entry}.requests={_STEADY_REQUESTS}",
        )
        return (*load, "duration=null", "drain=null", "warmup=0s")


def every(seeds: Sequence[int] = SEEDS) -> Iterator[Asked]:
    """All studies: the comparison first, with baselines and SCOOT that are not given the known rules; then latencies, the parallel
    degrees, and the comparison on ``INTEGERS``."""
    places = [(seed, service) for seed in seeds for service in SERVICES]
    for seed, service in places:
        for sampler in (*COMPARED, WITHOUT_RULES, *UNRULED_BASELINES):
            yield Asked(service, THROUGHPUT, sampler, seed)
    for seed, service in places:
        for sampler in COMPARED:
            if sampler != "auto-tune":  # which knows one objective
                yield Asked(service, LATENCIES, sampler, seed)
    for seed in seeds:
        for parallel in range(2, 6):
            yield Asked(PARALLEL_SERVICE, THROUGHPUT, "scoot", seed, parallel)
    for seed, service in places:
        for sampler in COMPARED:
            yield Asked(service, THROUGHPUT, sampler, seed, space=INTEGERS)


def later() -> Iterator[Asked]:
    """The comparison again, on ``LATER_SEEDS``."""
    for seed in LATER_SEEDS:
        for service in SERVICES:
            for sampler in COMPARED:
                yield Asked(service, THROUGHPUT, sampler, seed)


def space_for(asked: Asked) -> Space:
    """What a study tunes."""
    space = space_of(load_scenario(asked.scenario, asked.sets))
    if asked.space == TILES:
        return space
    knobs = tuple(LogIntegers(knob.name, knob.low, knob.high) if isinstance(knob, LogLevels) else knob for knob in space.knobs)
    return Space(knobs, space.rules, space.default)


def run(asked: Asked, trials: int = TRIALS) -> list[dict[str, Any]]:
    """Rows of the record, as ``figures.scoot.record`` lays it out: its trials, then the re-tests of its best and of the default.

    Traffic differs from trial to trial and from seed to seed, not from sampler to sampler.
    """
    objectives = parse_objectives(asked.objective)
    box = box_of(asked.service, asked.objective)
    space = space_for(asked)
    seed = 10_000 * asked.seed
    tuning = Tuning(
        Plan(space, objectives, trials, asked.sampler, seed, asked.parallel),
        lambda pairs: [box(config, seed) for config, seed in pairs],
    )
    done = tuning.run()
    rows = [_row(asked, "trial", trial.number, trial.config, trial) for trial in done]
    best, tested, passed_over = survivor(tuning, RETESTS)
    again = [(DIED, one.trial.config, one.tested) for one in passed_over]
    again += [("retest", best.config, tested), ("retest-default", space.default, tuning.retest(done[DEFAULT], RETESTS))]
    rows += [_row(asked, kind, i, config, outcome) for kind, config, found in again for i, outcome in enumerate(found)]
    if asked.sampler == "scoot" and asked.parallel == 1:
        old = {**space.default, **PAPER_DEFAULT}
        rows += [_row(asked, "retest-0.4.2", i, old, box(old, seed + 1_000_000 + i)) for i in range(RETESTS)]
    return rows


@cache
def box_of(service: str, objective: str) -> Callable[[Config, int], Outcome]:
    """The simulator, which remembers: samplers meet in the design, in the default's re-tests, and where no engine dies."""
    asked = Asked(service, objective, "", 0)
    box = Simulated(asked.scenario, parse_objectives(objective), asked.sets)
    known: dict[tuple[Any, ...], Outcome] = {}

    def remembered(config: Config, seed: int) -> Outcome:
        key = (seed, *sorted(config.items()))
        if key not in known:
            known[key] = box(config, seed)
        return known[key]

    return remembered


def _row(asked: Asked, kind: str, number: int, config: Config, found: Trial | Outcome) -> dict[str, Any]:
    values = found.values or ()
    return {
        "service": asked.service,
        "objective": asked.objective,
        "sampler": asked.sampler,
        "parallel": asked.parallel,
        "seed": asked.seed,
        "space": asked.space,
        "kind": kind,
        "number": number,
        "first": values[0] if values else None,
        "second": values[1] if len(values) > 1 else None,
        "failure": found.failure.partition(":")[0],
        **config,
    }
