"""Which GPUs to buy: the cheapest fleet of each kind that meets the objectives of a scenario's workload.

In two steps. Every deployment of the model is estimated from its fingerprint in closed form (``traces.candidates``), which takes
seconds for hundreds. The most promising ones, and at least one of each GPU type, are then simulated under every policy that was
asked for: the least number of engines with which the goal holds is searched (``sim.search``), with the same requests and noise in
all. What is reported is simulated; the closed form only decides where to look, and where a search begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from policies.iserve.candidate import Candidate
from policies.types import SLO, Demand
from sim.backends import run_all
from sim.bracket import Answer
from sim.goals import Goal
from sim.search import lowest
from sim.sweep import Point, Runner, estimate
from traces.build import build_workload
from traces.candidates import PRECISIONS, candidates
from traces.errors import InputError
from traces.intervals import Estimate
from traces.scenario import Scenario, load_scenario

SHOWN = ("attainment", "ttft_s.p99", "tpot_s.p99", "usd_per_mtok", "busy")
MOST_SIMULATED = 10
FURTHER = 3
"""How often a search whose answer lies outside its bracket is begun anew with a wider one."""


@dataclass(frozen=True, slots=True)
class Question:
    """``gpus``: type → how many may be used. ``attainment``: share of requests that must meet their SLO. ``policies``: stacks, or
    parts of one, as a scenario's ``policy:`` takes them, each a set of overrides. ``most``: deployments that are simulated.
    """

    gpus: Mapping[str, int]
    attainment: float = 0.9
    policies: Sequence[tuple[str, ...]] = ((),)
    precisions: Mapping[str, Sequence[str]] = field(default_factory=lambda: PRECISIONS)
    most: int = MOST_SIMULATED
    seeds: int = 4


@dataclass(frozen=True, slots=True)
class Alternative:
    """One deployment under one policy. ``engines``: fewest with which the goal holds, in [``lo``, ``hi``] for sure; ``None``: it
    does not hold with as many as there are GPUs for. ``found``: the metrics of ``SHOWN`` at that size.
    """

    candidate: Candidate
    policy: tuple[str, ...]
    engines: int | None
    lo: float | None
    hi: float | None
    usd_per_hour: float
    found: Mapping[str, Estimate]
    runs: int
    note: str = ""

    @property
    def gpus(self) -> int | None:
        return None if self.engines is None else self.engines * self.candidate.configuration.gpus


@dataclass(frozen=True, slots=True)
class Plan:
    """``alternatives``: cheapest first, failures last. ``considered``: deployments estimated. ``demand``: what they serve."""

    demand: Demand
    alternatives: Sequence[Alternative]
    considered: int


def plan(
    path: str | Path,
    question: Question,
    *,
    sets: Sequence[str] = (),
    jobs: int | None = None,
    cache: Path | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Plan:
    """Answers the question for a scenario, whose own fleet is put aside. ``watch``: told how many of how many searches are done.

    Raises:
        InputError: the scenario has no rate, no objective or several models, or no deployment fits.
    """
    demand = demand_of(load_scenario(path, sets), question.attainment)
    offered = candidates(demand, question.gpus, precisions=question.precisions, within_inventory=False)
    chosen = shortlist(offered, question)
    if not chosen:
        kinds = ", ".join(question.gpus)
        raise InputError(
            f"plan: no deployment of {demand.model} on {kinds} can meet the objectives at all, even for one request at a time; "
            "loosen them, or offer other GPUs or precisions"
        )
    tasks = [_Task(Path(path), tuple(sets), c, p, question, cache) for c in chosen for p in question.policies]
    found: list[Alternative] = []
    for _, (alternative, faults) in run_all(_simulate, tasks, jobs=jobs):
        if faults or alternative is None:
            raise InputError(*faults)
        found.append(alternative)
        if watch is not None:
            watch(len(found), len(tasks))
    found.sort(key=lambda a: (a.engines is None, a.usd_per_hour, a.candidate.configuration, a.policy))
    return Plan(demand, found, len(offered))


def demand_of(scenario: Scenario, attainment: float) -> Demand:
    """What the scenario's requests are together: mean lengths, the rate, and the objective that decides.

    That is the strictest one after the strictest requests have been left out that need not be attained.

    Raises:
        InputError: a closed loop, no objective, or several models.
    """
    built = build_workload(scenario)
    work = built.workload
    if built.concurrency or len(work.arrival_s) < 2 or work.arrival_s[-1] <= 0:
        raise InputError("plan: needs requests that arrive at a rate; give every workload entry a `rate:`")
    if len(models := {klass.model or scenario.model for klass in work.classes}) > 1:
        raise InputError(f"plan: the workload is of {len(models)} models ({', '.join(sorted(models))}); plan for one at a time")
    strictest = [_deciding(work, lambda slo: slo.ttft_s, attainment), _deciding(work, lambda slo: slo.tpot_s, attainment)]
    if strictest == [None, None] and not any(klass.slo.e2e_s for klass in work.classes):
        raise InputError("plan: no request has an objective; give the workload an `slo:`")
    duration = scenario.duration_s or float(work.arrival_s[-1])
    return Demand(
        model=models.pop(),
        tier="all",
        slo=SLO(ttft_s=strictest[0], tpot_s=strictest[1]),
        rate_per_s=len(work.arrival_s) / duration,
        prompt_tokens=float(work.prompt_tokens.mean()),
        output_tokens=float(work.output_tokens.mean()),
    )


def _deciding(work: Any, of: Callable[[SLO], float | None], attainment: float) -> float | None:
    """The objective below which no more than 1 − ``attainment`` of the requests have theirs."""
    import numpy as np

    share = np.bincount(work.klass, minlength=len(work.classes)) / len(work.arrival_s)
    known = sorted((limit, float(part)) for k, part in zip(work.classes, share, strict=True) if (limit := of(k.slo)) is not None)
    passed = 0.0
    for limit, part in known:
        passed += part
        if passed > 1 - attainment:
            return limit
    return known[-1][0] if known else None


def shortlist(offered: Sequence[Candidate], question: Question) -> list[Candidate]:
    """The cheapest by the closed form that could fit, the best of each GPU type first, then the others."""
    possible = [c for c in offered if math.isfinite(c.usd_per_hour) and c.requests_per_s.value > 0]
    near = [c for c in possible if c.gpus <= 2 * question.gpus[c.configuration.gpu]]
    ranked = sorted(near or possible, key=lambda c: (c.usd_per_hour, c.configuration))
    first = {c.configuration.gpu: c for c in reversed(ranked)}
    best = sorted(first.values(), key=lambda c: c.usd_per_hour)
    return [*best, *(c for c in ranked if c not in best)][: max(question.most, 1)]


class _Task(NamedTuple):
    path: Path
    sets: tuple[str, ...]
    candidate: Candidate
    policy: tuple[str, ...]
    question: Question
    cache: Path | None


def _simulate(task: _Task) -> tuple[Alternative | None, tuple[str, ...]]:
    try:
        return _smallest(task), ()
    except InputError as error:
        configuration = task.candidate.configuration
        return None, tuple(f"{configuration}: {fault}" for fault in error.faults)


def _smallest(task: _Task) -> Alternative:
    """The least number of engines, searched around what the closed form expects."""
    candidate, question = task.candidate, task.question
    each = candidate.configuration.gpus
    most = question.gpus[candidate.configuration.gpu] // each
    sets = (*task.sets, *deployed(candidate), *task.policy)
    goal = Goal("attainment", question.attainment)
    expected = min(candidate.replicas, most)
    low, high = max(1, expected - 1), min(most, expected + 1)
    runs, answer = 0, None
    for _ in range(FURTHER):
        answer = _search(task, sets, goal, low, high)
        runs += answer.runs
        if answer.outside == "above" and high < most:
            low, high = high, min(most, 2 * high)
        elif answer.outside == "below" and low > 1:
            low, high = max(1, low // 2), low
        else:
            break
    assert answer is not None
    if answer.outside is not None or answer.value is None:
        return Alternative(candidate, task.policy, None, None, None, float("inf"), {}, runs, f"not with {most} engines")
    engines = round((answer.hi if answer.hi is not None else answer.value) / each)
    runner = Runner(task.path, sets=sets, backend="threads", jobs=1, cache=task.cache)
    scenario = runner.scenario((f"fleet.gpus={engines * each}",))
    result = runner.run([Point((f"fleet.gpus={engines * each}",), scenario.seed)])
    if result.faults:
        raise InputError(*result.faults)
    metrics = result.results[0].summary()["metrics"]
    price = scenario.fleet.price_usd_per_gpu_hour
    return Alternative(
        candidate,
        task.policy,
        engines,
        None if answer.lo is None else answer.lo / each,
        None if answer.hi is None else answer.hi / each,
        engines * each * price,
        {name: estimate(metrics, name) for name in SHOWN},
        runs,
    )


def _search(task: _Task, sets: tuple[str, ...], goal: Goal, low: int, high: int) -> Answer:
    each = task.candidate.configuration.gpus
    field_ = f"fleet.gpus={low * each}..{max(high, low + 1) * each}"
    return lowest(task.path, field_, [goal], sets=sets, seeds=task.question.seeds, backend="threads", jobs=1, cache=task.cache)


def deployed(candidate: Candidate) -> tuple[str, ...]:
    """Overrides that put the candidate in place of a scenario's fleet, one engine of it."""
    c = candidate.configuration
    kv = f", kv_precision: {c.kv_precision}" if c.kv_precision != "bf16" else ""
    return (
        f"fleet={{gpu: {c.gpu}, gpus: {c.gpus}, tensor_parallel: {c.tensor_parallel}, "
        f"pipeline_parallel: {c.pipeline_parallel}, precision: {c.precision}{kv}}}",
    )
