"""The two worlds as black boxes: a configuration in, what was measured out, and a crash is a result like any other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from figures.tuning.knobs import overrides
from figures.tuning.objectives import Objective
from policies.fingerprint import Fingerprint
from policies.scoot.space import Config
from traces.errors import InputError
from traces.scenario import Scenario, load_scenario

GUARD = Objective("p95-latency", "e2e_s.p95", maximise=False)
"""What a canary study keeps an eye on besides the objectives: the paper's SLO of single-objective studies."""
KEPT = (
    "throughput_req_s",
    "throughput_tok_s",
    "goodput_req_s",
    "attainment",
    "e2e_s.p95",
    "ttft_s.mean",
    "tpot_s.mean",
    "ttft_s.p99",
)
"""Metrics that are kept of every trial, beside the objectives'."""

UNMEASURED = "cannot be measured:"
_DOUBTS = "doubts"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one trial. ``values``: one per objective; ``None`` = the engine did not survive, ``failure`` says how.

    ``guarded``: costs for a canary study, the guard's last: infinite where requests were left when the run ended.
    """

    values: tuple[float, ...] | None = None
    failure: str = ""
    guarded: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


class BlackBox(Protocol):
    """Tries configurations. ``seed`` gives the traffic and all other luck. Picklable, as trials may run in other processes."""

    objectives: Sequence[Objective]

    def __call__(self, config: Config, seed: int) -> Outcome: ...


def measured(summary: Mapping[str, Any], objectives: Sequence[Objective]) -> Outcome:
    """The outcome of a run that came to its end.

    Latencies are known of requests that finished. Where some did not, the engine was too slow for the time it had, and the trial
    is a time-out: else the slowest configuration would look fast.
    """
    metrics = summary["metrics"]
    lost = sum(int(metrics.get(f"requests.{how}") or 0) for how in ("unfinished", "failed"))
    if lost and any(objective.latency for objective in objectives):
        return Outcome(failure=f"time-out: {lost:,} requests did not finish")
    values = [objective.value(metrics) for objective in objectives]
    kept = {key: float(metrics[key]) for key in KEPT if metrics.get(key) is not None}
    if any(value is None for value in values):
        missing = next(o.name for o, value in zip(objectives, values, strict=True) if value is None)
        return Outcome(failure=f"{UNMEASURED} {missing}", metrics=kept)
    known = tuple(value for value in values if value is not None)
    guard = GUARD.value(metrics)
    guarded = [o.cost(value) for o, value in zip(objectives, known, strict=True)]
    return Outcome(known, guarded=(*guarded, math.inf if lost or guard is None else guard), metrics=kept)


@dataclass(frozen=True, slots=True)
class Simulated:
    """The simulator: fresh traffic and step-time noise for every seed, and engines that do not live (``sim.overcommit``).

    A start-up that vLLM refuses is what the scenario's own rules refuse. ``fingerprint``: of every pool's engines, in place of the
    library's; such as one measured on the engines that ``Real`` starts.
    """

    scenario: Path
    objectives: Sequence[Objective]
    sets: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None

    def __call__(self, config: Config, seed: int) -> Outcome:
        from sim import overcommit
        from sim.run import simulate
        from traces.metrics import summarise

        loaded = _loaded(self.scenario, self.sets, config, seed, "sim.steps=false")
        if isinstance(loaded, Outcome):
            return loaded
        if why := overcommit.fault(loaded):
            return Outcome(failure=why)
        try:
            record = simulate(loaded, fingerprints=None if self.fingerprint is None else [self.fingerprint] * len(loaded.pools))
        except InputError as error:
            return Outcome(failure=f"not simulated: {error.faults[0]}")
        return measured(summarise(record).to_json(), self.objectives)


@dataclass(frozen=True, slots=True)
class Real:
    """vLLM: engines started for the trial, in a process of its own, which ends with it. ``limit_s``: start and run together."""

    scenario: Path
    objectives: Sequence[Objective]
    sets: tuple[str, ...] = ()
    limit_s: float = 1800.0

    def __call__(self, config: Config, seed: int) -> Outcome:
        from figures.tuning.isolated import in_own_process

        loaded = _loaded(self.scenario, self.sets, config, seed)
        if isinstance(loaded, Outcome):
            return loaded
        summary, failure = in_own_process(_replayed, loaded, limit_s=self.limit_s)
        if failure or summary is None:
            return Outcome(failure=failure or "the run told nothing")
        if why := summary.get(_DOUBTS):
            return Outcome(failure=f"not to be believed: {why}")
        return measured(summary, self.objectives)


def _loaded(path: Path, sets: tuple[str, ...], config: Config, seed: int, *more: str) -> Scenario | Outcome:
    window = load_scenario(path, sets).pools[0].window  # as vLLM knows it; without chunked prefill a scenario has to tell it
    told = (f"engine.max_model_len={window}", *overrides(config), f"seed={seed}", *more)
    try:
        return load_scenario(path, (*sets, *told))
    except InputError as error:
        return Outcome(failure=f"start-up refused: {error.faults[0]}")


def _replayed(scenario: Scenario) -> dict[str, Any]:
    """Runs in the trial's process; a fault is raised there and told here."""
    from replay.run import replay
    from traces.metrics import summarise

    record = replay(scenario)
    if record.partial or not record.manifest["sound"]:
        return {_DOUBTS: str(next(iter(record.manifest.get("warnings", ())), "the run ended early"))}
    return summarise(record).to_json()
