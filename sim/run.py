"""A run of the simulated world: a scenario in, a run record out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from policies import registry
from policies.decisionlog import decision_log
from policies.fingerprint import Fingerprint
from policies.protocols import Batcher, Router, Scaler, Speculator
from sim.faults import Fault, RandomFaults, strike
from sim.fleet import Fleet
from sim.journal import Journal
from sim.kernel import FLEET, Kernel
from sim.load import Load
from sim.manifest import manifest
from sim.members import build_engines
from sim.outcome import tables
from sim.request import Request
from traces.build import Built, build_workload
from traces.errors import InputError
from traces.fingerprints import pool_fingerprint
from traces.record import Record
from traces.scenario import Scenario
from traces.scenario.fleet import Faults


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. ``requests``: done (completed or shed); ``until_s``: when arrivals end."""

    now_s: float
    until_s: float
    requests: int
    offered: int


def simulate(
    scenario: Scenario,
    watch: Callable[[Progress], None] | None = None,
    *,
    stop_s: float = math.inf,
    fingerprints: Sequence[Fingerprint] | None = None,
) -> Record:
    """Run a scenario in simulated time. ``watch`` is told of the progress now and then.

    ``stop_s``: stop at this time, whatever is left; the record is then partial. ``fingerprints``: one per pool, in place of the
    library's.

    Raises:
        InputError: the scenario cannot be run, one of its policies makes an illegal decision, or a step left the range for which
            the step times are calibrated and the scenario does not say ``extrapolate``.
    """
    began = time.perf_counter()
    fingerprints = fingerprints or [pool_fingerprint(pool.model, pool.hardware) for pool in scenario.pools]
    built = build_workload(scenario)
    world = _World(scenario, built, fingerprints)
    loop_s = world.play(watch, stop_s)
    about = manifest(scenario, built.workload, fingerprints, world.fleet, world.journal, world.kernel.now)
    if about["extrapolated"] and not scenario.extrapolate:
        raise InputError(
            *(f"{sentence}; stay within, or accept the guess with extrapolate: true" for sentence in about["extrapolated"])
        )
    record_tables = tables(world.journal, built.workload, world.engines, world.fleet.lifecycle.history, scenario)
    about |= {
        "partial": world.stopped,
        "loop_s": loop_s,
        "loop_events": world.kernel.events,
        "wall_s": time.perf_counter() - began,
    }
    return Record(about, *record_tables, decisions=world.decisions)


class _World:
    """The objects of one run, wired together."""

    def __init__(self, scenario: Scenario, built: Built, fingerprints: Sequence[Fingerprint]) -> None:
        self.scenario = scenario
        self.workload = workload = built.workload
        seed = scenario.seed
        policy = scenario.policy
        self.kernel = Kernel()
        self.journal = Journal(len(workload))
        self.decisions = log = decision_log(scenario.decisions)
        router: Router = registry.build("router", policy.router.name, policy.router.params, seed)
        failures = scenario.failures
        self.fleet = Fleet(
            self.kernel,
            log.router(router) if log else router,
            self.journal,
            observe_s=scenario.sim.observe_s,
            retries=failures.allowed if failures is not None else 0,
            link_latency_s=scenario.kv_transfer.latency_s if scenario.kv_transfer is not None else 0.0,
        )

        def batcher(engine: str) -> Batcher:
            built: Batcher = registry.build("batcher", policy.batcher.name, policy.batcher.params, seed)
            return log.batcher(engine, built) if log else built

        def speculator(engine: str) -> Speculator:
            chosen = policy.speculation
            built: Speculator = registry.build("speculator", chosen.name, chosen.params, seed)
            return log.speculator(engine, built) if log else built

        self.engines = build_engines(scenario, fingerprints, workload, self.kernel, self.journal, self.fleet, batcher, speculator)
        self.fleet.set_engines(self.engines, scenario.inventory)
        until = float("inf") if scenario.duration_s is None else scenario.duration_s
        front = scenario.frontend
        self.load = Load(
            self.kernel,
            workload,
            self.fleet.dispatch,
            concurrency=built.concurrency,
            until_s=until,
            frontend_s=(0.0, 0.0) if front is None else (front.base_s, front.per_token_s),
        )
        self.fleet.on_done = self.load.on_done
        self.stopped = False
        if failures is not None:
            self._set_faults(failures)
        if policy.scaler is not None:
            scaler: Scaler = registry.build("scaler", policy.scaler.name, policy.scaler.params, seed)
            self._set_intents()
            self.fleet.set_scaler(log.scaler(scaler) if log else scaler)
        if failures is not None or policy.scaler is not None:
            self.fleet.on_done = self._last_done  # timers would keep the run going

    def _set_intents(self) -> None:
        """Those of the start are there before the scaler is asked for the first time."""
        for at_s, model, intent in self.scenario.wishes:
            said = partial(self.fleet.set_intent, model, intent)
            if at_s:
                self.kernel.call_at(at_s, FLEET, lambda _, said=said: said())  # type: ignore[misc]
            else:
                said()

    def _set_faults(self, failures: Faults) -> None:
        outages = [
            Fault(outage.engine, outage.at_s, math.inf if outage.down_s is None else outage.down_s) for outage in failures.events
        ]
        strike(self.kernel, self.engines, outages, self.fleet.fail)
        if failures.mtbf_s is not None:
            RandomFaults(self.kernel, self.engines, failures.mtbf_s, failures.mttr_s, self.scenario.seed, self.fleet.fail)

    def _last_done(self, request: Request) -> None:
        """The run ends with its last request."""
        self.load.on_done(request)
        if self.fleet.done == self.load.due:
            self.kernel.stop()

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
        for request in self.load.entering.values():
            self.journal.unfinished(request, -1, -1)
        return time.perf_counter() - began
