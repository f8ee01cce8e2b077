"""The manifest of a simulated run: everything that identifies it, and what its tables do not say."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from policies.fingerprint import Fingerprint
from sim.fleet import Fleet
from sim.journal import Journal
from traces.hashes import hash_code, hash_config, hash_fingerprint, hash_trace
from traces.scenario import Scenario
from traces.workload import Workload


def manifest(
    scenario: Scenario, workload: Workload, fingerprints: Sequence[Fingerprint], fleet: Fleet, journal: Journal, end_s: float
) -> dict[str, Any]:
    """All of it but what is known only when the tables are made. ``fingerprints``: one per pool. Call it before ``tables``."""
    resolved = scenario.resolved()
    policy = scenario.policy
    chosen = {"router": policy.router, "scaler": policy.scaler, "batcher": policy.batcher, "speculator": policy.speculator}
    if any(pool.engine.speculative is not None for pool in scenario.pools):
        chosen["speculator"] = policy.speculation
    distinct = list({fingerprint.name: fingerprint for fingerprint in fingerprints}.values())
    hashes = [hash_fingerprint(fingerprint.to_dict()) for fingerprint in distinct]
    return {
        "twinserve": _version("twinserve"),
        "world": "sim",
        "scenario": resolved,
        "seed": scenario.seed,
        "window_s": _window(scenario, journal, end_s),
        "end_s": end_s,
        "policies": {
            point: {"name": choice.name, "params": choice.params} for point, choice in chosen.items() if choice is not None
        },
        "engines": engine_facts(scenario),
        "usd_per_gpu_hour": prices(scenario),
        "noise": distinct[0].residual if scenario.sim.noise is None else scenario.sim.noise,
        **({"fingerprint": _about(distinct[0])} if len(distinct) == 1 else {"fingerprints": list(map(_about, distinct))}),
        "workload": {"requests": len(workload), **workload.source},
        **_events(scenario, fleet),
        "hashes": {
            "code": hash_code(),
            "config": hash_config(decisive(resolved)),
            "trace": hash_trace(workload),
            "fingerprint": hashes[0] if len(hashes) == 1 else hash_config(hashes),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("numpy", "scipy", "simpy", "pyarrow", "pydantic")},
        },
        "extrapolated": (
            beyond := [
                sentence
                for fingerprint in distinct
                for sentence in outside_calibration(fingerprint, _rows_of(fingerprint, fingerprints, scenario, journal))
            ]
        ),
        "warnings": [f"extrapolated: {sentence}" for sentence in beyond] + [*map(analytic_error, filter(_analytic, distinct))],
    }


def _events(scenario: Scenario, fleet: Fleet) -> dict[str, Any]:
    """What happened beyond serving, where it could happen."""
    events: dict[str, Any] = {}
    links, losses = fleet.links, fleet.losses
    if links.transfers:
        events["kv_transfers"] = {
            "transfers": links.transfers,
            "bytes": links.sent_bytes,
            "mean_s": links.took_s / links.transfers,
            "mean_waited_s": links.waited_s / links.transfers,
        }
    if scenario.failures is not None:
        events["faults"] = {"failures": losses.failures, "retried": losses.retried, "given_up": losses.given_up}
    return events


def _rows_of(fingerprint: Fingerprint, fingerprints: Sequence[Fingerprint], scenario: Scenario, journal: Journal) -> np.ndarray:
    """The batches of the engines with this fingerprint."""
    rows = journal.step_rows()
    pools = zip(scenario.pools, fingerprints, strict=True)
    mine = [pool.engines for pool, theirs in pools if theirs.name == fingerprint.name]
    return rows if len(mine) == len(fingerprints) else rows[np.isin(rows["engine"], np.concatenate(mine))]


def _window(scenario: Scenario, journal: Journal, end_s: float) -> list[float]:
    """From the end of the warm-up to the end of arrivals; to the end of the run when all arrived at one instant."""
    if scenario.duration_s is not None:
        return [scenario.warmup_s, scenario.duration_s]
    arrivals = np.frombuffer(journal.arrival_s)
    last = float(np.nextafter(np.nanmax(arrivals), np.inf))
    first = float(np.nanmin(arrivals))
    return [scenario.warmup_s, last if last > max(scenario.warmup_s, np.nextafter(first, np.inf)) else end_s]


def decisive(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved scenario without what has no bearing on the outcome: name, sweep, and where the files lie whose content is hashed,
    traces and fingerprints.
    """
    entries = [dict(entry) for entry in resolved["workload"]]
    for entry in entries:
        if isinstance(trace := entry.get("trace"), Mapping):
            entry["trace"] = {key: value for key, value in trace.items() if key != "file"}
    fleet = resolved["fleet"]
    pools = [
        {key: value for key, value in pool.items() if key != "fingerprint"}
        for pool in ([fleet] if isinstance(fleet, Mapping) else fleet)
    ]
    kept = {key: value for key, value in resolved.items() if key not in ("name", "sweep")}
    return kept | {"workload": entries, "fleet": pools[0] if isinstance(fleet, Mapping) else pools}


def engine_facts(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """What a reader of the record has to know of each engine; of one pool among several, also where it belongs."""
    facts = {}
    for pool in scenario.pools:
        whose: dict[str, Any] = {}
        if len(scenario.pools) > 1:
            whose = {"pool": pool.name, "role": str(pool.role)}
        for index in pool.engines:
            facts[f"e{index}"] = {
                "kv_tokens_capacity": pool.kv_tokens,
                "max_num_seqs": pool.engine.max_num_seqs,
                "max_num_batched_tokens": pool.engine.max_num_batched_tokens,
                **whose,
            }
    return facts


def prices(scenario: Scenario) -> float | dict[str, float]:
    """USD per GPU-hour; by GPU type where there are several pools."""
    pools = [pool.hardware for pool in scenario.pools]
    return pools[0].price_usd_per_gpu_hour if len(pools) == 1 else {pool.gpu: pool.price_usd_per_gpu_hour for pool in pools}


def _about(fingerprint: Fingerprint) -> dict[str, Any]:
    return {
        "name": fingerprint.name,
        "provenance": fingerprint.provenance,
        "engine": fingerprint.engine,
        "source": fingerprint.source,
        "calibrated": {feature: list(bounds) for feature, bounds in fingerprint.calibrated.items()},
    }


def outside_calibration(fingerprint: Fingerprint, rows: np.ndarray) -> list[str]:
    """One sentence for each feature of the batches in ``rows`` that left the range that the fingerprint's data cover."""
    if not len(rows):
        return []
    seqs = rows["decode_seqs"].astype(np.float64)
    reached: Mapping[str, np.ndarray] = {
        "tokens": rows["prefill_tokens"] + seqs,
        "decode_seqs": seqs,
        "decode_context_per_seq": rows["decode_context"] / np.maximum(seqs, 1),
    }
    weight = rows["end_s"] - rows["start_s"]
    sentences = []
    for feature, (low, high) in fingerprint.calibrated.items():
        if feature in reached and (beyond := reached[feature] > high).any():
            share = float(weight[beyond].sum() / weight.sum())
            sentences.append(
                f"{feature} reached {reached[feature].max():,.0f}, beyond the {high:,.0f} that fingerprint {fingerprint.name} "
                f"is calibrated for ({low:,.0f} to {high:,.0f}), in {share:.1%} of the engines' busy time"
            )
    return sentences


def _analytic(fingerprint: Fingerprint) -> bool:
    return fingerprint.provenance == "analytic" and bool(fingerprint.errors)


def analytic_error(fingerprint: Fingerprint) -> str:
    """The sentence that goes with step times that nobody has measured."""
    median, p90, _ = next(iter(fingerprint.errors.values()))
    return (
        f"step times of {fingerprint.name} follow from data sheets: on GPUs held out, half of the steps were off by more than "
        f"{median:.0%}, a tenth by more than {p90:.0%}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
