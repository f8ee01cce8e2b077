"""What a scenario asks of a fleet, more or less of it, and how short a run of it still shows that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from policies.placement import Demand
from policies.types import SLO
from traces.build import build_workload
from traces.errors import InputError
from traces.fingerprints import read_fingerprint
from traces.scenario import Scenario
from traces.scenario.workload import TraceFile

_RESIDENCES = 6
"""Times a request's own time under its objectives that a run lasts at least."""
_FILLING = 2
"""Times that time which are left out at its start."""


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


def own_step_times(scenario: Scenario) -> dict[str, Path]:
    """The fingerprints that the scenario's pools name: deployment → file.

    Raises:
        InputError: one is no fingerprint.
    """
    files = [Path(pool.hardware.fingerprint).resolve() for pool in scenario.pools if pool.hardware.fingerprint is not None]
    return {read_fingerprint(file).name: file for file in files}


def shortened(scenario: Scenario, demand: Demand, requests: int) -> tuple[str, ...]:
    """Overrides for a run of about so many measured requests; none where the scenario is no longer, or where a part of it would
    stand for another load than the whole: a recorded trace, a rate that varies, a backlog.
    """
    assert demand.rate_per_s is not None
    entries = scenario.workload
    uneven = any(
        isinstance(entry.trace, TraceFile) or entry.backlog is not None or entry.requests is not None
        or (entry.arrivals is not None and (entry.arrivals.varying or entry.arrivals.onoff))
        for entry in entries
    )  # fmt: skip
    if uneven or scenario.duration_s is None:
        return ()
    residence_s = (demand.slo.ttft_s or 1.0) + demand.output_tokens * (demand.slo.tpot_s or 0.05)
    measured_s = max(requests / demand.rate_per_s, _RESIDENCES * residence_s)
    warmup_s = min(scenario.warmup_s, max(_FILLING * residence_s, 0.1 * measured_s))
    if warmup_s + measured_s >= scenario.duration_s:
        return ()
    return (f"duration={warmup_s + measured_s:.6g}s", f"warmup={warmup_s:.6g}s")


def at_load(scenario: Scenario, factor: float) -> tuple[str, ...]:
    """Overrides that multiply every arrival rate.

    Raises:
        InputError: an entry has no rate of its own.
    """
    if without := [entry.name for entry in scenario.workload if entry.rate_per_s is None and not entry.offline]:
        raise InputError(f"workload {without[0]}: arrives at the trace's own times; give it a `rate:` to vary its load")
    return tuple(
        f"workload.{entry.name}.rate={entry.rate_per_s * factor:.10g}/s"
        for entry in scenario.workload
        if entry.rate_per_s is not None and factor != 1
    )


def with_lengths(scenario: Scenario, key: str, factor: float) -> tuple[str, ...]:
    """Overrides that multiply the lengths of all prompts (``key``: ``prompt_factor``) or outputs (``output_factor``)."""
    return tuple(f"workload.{entry.name}.{key}={getattr(entry, key) * factor:.6g}" for entry in scenario.workload)


def with_acceptance(scenario: Scenario, factor: float) -> tuple[str, ...]:
    """Overrides that multiply the acceptance of draft tokens; none where it is not a number of the scenario's."""
    drafts = scenario.engine.speculative
    if drafts is None or drafts.acceptance is None:
        return ()
    rates = ", ".join(f"{min(1.0, rate * factor):.6g}" for rate in drafts.acceptance)
    return (f"engine.speculative.acceptance=[{rates}]",)
