"""A run of the simulated world: a scenario in, a run record out."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from policies import registry
from policies.decisionlog import decision_log
from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency
from policies.protocols import Batcher, Router
from sim.engine import Engine
from sim.fleet import Fleet
from sim.journal import Journal
from sim.kernel import Kernel
from sim.load import Load
from sim.noise import StepNoise
from sim.outcome import tables
from sim.prefixcache import ContentTrie
from sim.scheduler import EngineLimits, Scheduler
from sim.steptime import StepTime
from traces.build import Built, build_workload
from traces.fingerprints import load_fingerprint
from traces.hashes import hash_code, hash_config, hash_fingerprint, hash_trace
from traces.record import Record
from traces.scenario import Scenario
from traces.workload import Workload


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. ``requests``: done (completed or shed); ``until_s``: when arrivals end."""

    now_s: float
    until_s: float
    requests: int
    offered: int


def simulate(scenario: Scenario, watch: Callable[[Progress], None] | None = None, *, stop_s: float = math.inf) -> Record:
    """Run a scenario in simulated time. ``watch`` is told of the progress now and then.

    ``stop_s``: stop at this time, whatever is left; the record is then partial.

    Raises:
        InputError: the scenario cannot be run, or one of its policies makes an illegal decision.
    """
    began = time.perf_counter()
    fingerprint = load_fingerprint(scenario.model, scenario.fleet.gpu, scenario.fleet.tensor_parallel, scenario.fleet.precision)
    built = build_workload(scenario)
    world = _World(scenario, built, fingerprint)
    loop_s = world.play(watch, stop_s)
    manifest = world.manifest(fingerprint)
    record_tables = tables(world.journal, built.workload, world.engines, scenario)
    manifest |= {
        "partial": world.stopped,
        "loop_s": loop_s,
        "loop_events": world.kernel.events,
        "wall_s": time.perf_counter() - began,
    }
    return Record(manifest, *record_tables, decisions=world.decisions)


class _World:
    """The objects of one run, wired together."""

    def __init__(self, scenario: Scenario, built: Built, fingerprint: Fingerprint) -> None:
        self.scenario = scenario
        self.workload = workload = built.workload
        seed = scenario.seed
        engine = scenario.engine
        policy = scenario.policy
        limits = EngineLimits(
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            block_size=engine.block_size,
            kv_blocks=scenario.kv_blocks,
            long_prefill_token_threshold=engine.long_prefill_token_threshold,
            enable_chunked_prefill=engine.enable_chunked_prefill,
            scheduling_policy=engine.scheduling_policy,
            watermark=engine.watermark,
            scheduler_reserve_full_isl=engine.scheduler_reserve_full_isl,
        )
        noise = fingerprint.residual if scenario.sim.noise is None else scenario.sim.noise
        trie = ContentTrie(workload.block_tokens or engine.block_size) if engine.enable_prefix_caching else None
        truth = StepTime(fingerprint, max_batched_tokens=limits.max_num_batched_tokens, max_seqs=limits.max_num_seqs)
        belief = FingerprintLatency(fingerprint)
        self.kernel = Kernel()
        self.journal = Journal(len(workload))
        self.decisions = log = decision_log(scenario.decisions)
        router: Router = registry.build("router", policy.router.name, policy.router.params, seed)
        self.fleet = Fleet(self.kernel, log.router(router) if log else router, self.journal, observe_s=scenario.sim.observe_s)

        def batcher(engine: str) -> Batcher:
            built: Batcher = registry.build("batcher", policy.batcher.name, policy.batcher.params, seed)
            return log.batcher(engine, built) if log else built

        self.engines = [
            Engine(
                self.kernel,
                index,
                model=scenario.model,
                scheduler=Scheduler(limits, trie=trie),
                steptime=truth,
                latency=belief,
                batcher=batcher(f"e{index}"),
                noise=StepNoise(seed, index, noise),
                journal=self.journal,
                listener=self.fleet,
                leap=scenario.sim.leap,
            )
            for index in range(scenario.fleet.engines)
        ]
        self.fleet.set_engines(self.engines)
        until = float("inf") if scenario.duration_s is None else scenario.duration_s
        self.load = Load(self.kernel, workload, self.fleet.dispatch, concurrency=built.concurrency, until_s=until)
        self.fleet.on_done = self.load.on_done
        self.stopped = False

    def play(self, watch: Callable[[Progress], None] | None, stop_s: float) -> float:
        """Run to the end, or to ``stop_s``; returns the seconds that it took."""
        end = math.inf if self.scenario.end_s is None else self.scenario.end_s
        end, early = min(end, stop_s), stop_s < end
        last_arrival = float(self.workload.arrival_s[-1])

        def report() -> None:
            assert watch is not None
            watch(Progress(self.kernel.now, last_arrival, self.fleet.done, len(self.workload)))

        began = time.perf_counter()
        self.kernel.play(end, report if watch is not None else None)
        self.stopped = early and not self.kernel.idle
        self.fleet.close()
        return time.perf_counter() - began

    def manifest(self, fingerprint: Fingerprint) -> dict[str, Any]:
        """Everything that identifies the run, and what its tables do not say."""
        scenario = self.scenario
        resolved = scenario.resolved()
        kv_tokens = scenario.kv_blocks * scenario.engine.block_size
        return {
            "twinserve": _version("twinserve"),
            "world": "sim",
            "scenario": resolved,
            "seed": scenario.seed,
            "window_s": self._window(),
            "end_s": self.kernel.now,
            "policies": {
                "router": {"name": scenario.policy.router.name, "params": scenario.policy.router.params},
                "batcher": {"name": scenario.policy.batcher.name, "params": scenario.policy.batcher.params},
            },
            "engines": {
                engine.id: {
                    "kv_tokens_capacity": kv_tokens,
                    "max_num_seqs": scenario.engine.max_num_seqs,
                    "max_num_batched_tokens": scenario.engine.max_num_batched_tokens,
                }
                for engine in self.engines
            },
            "usd_per_gpu_hour": scenario.fleet.price_usd_per_gpu_hour,
            "noise": self.engines[0].noise.sigma,
            "fingerprint": {
                "name": fingerprint.name,
                "provenance": fingerprint.provenance,
                "engine": fingerprint.engine,
                "source": fingerprint.source,
                "calibrated": {feature: list(bounds) for feature, bounds in fingerprint.calibrated.items()},
            },
            "workload": {"requests": len(self.workload), **self.workload.source},
            "hashes": {
                "code": hash_code(),
                "config": hash_config(decisive(resolved)),
                "trace": hash_trace(self.workload),
                "fingerprint": hash_fingerprint(fingerprint.to_dict()),
            },
            "versions": {
                "python": platform.python_version(),
                **{name: _version(name) for name in ("numpy", "scipy", "simpy", "pyarrow", "pydantic")},
            },
            "warnings": outside_calibration(fingerprint, self.journal, self.workload),
        }

    def _window(self) -> list[float]:
        """From the end of the warm-up to the end of arrivals; to the end of the run when all arrived at one instant."""
        scenario = self.scenario
        if scenario.duration_s is not None:
            return [scenario.warmup_s, scenario.duration_s]
        arrivals = np.frombuffer(self.journal.arrival_s)
        last = float(np.nextafter(np.nanmax(arrivals), np.inf))
        first = float(np.nanmin(arrivals))
        return [scenario.warmup_s, last if last > max(scenario.warmup_s, np.nextafter(first, np.inf)) else self.kernel.now]


def decisive(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved scenario without what has no bearing on the outcome: name, sweep, where trace files lie (content is hashed)."""
    entries = [dict(entry) for entry in resolved["workload"]]
    for entry in entries:
        if isinstance(trace := entry.get("trace"), Mapping):
            entry["trace"] = {key: value for key, value in trace.items() if key != "file"}
    return {key: value for key, value in resolved.items() if key not in ("name", "sweep")} | {"workload": entries}


def outside_calibration(fingerprint: Fingerprint, journal: Journal, workload: Workload) -> list[str]:
    """One sentence for each feature of the run's steps that left the range that the fingerprint's data cover."""
    rows = journal.step_rows()
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


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
