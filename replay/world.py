"""The objects of one run that are the same whichever engines it is on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from policies import registry
from policies.decisionlog import DecisionLog, decision_log
from policies.fingerprint import Fingerprint
from policies.protocols import Batcher, Router, Speculator
from policies.types import Role
from replay.clock import Clock
from replay.fleet import Fleet
from replay.journal import Journal
from replay.manifest import Facts, manifest
from replay.outcome import tables
from replay.prompts import Prompts
from replay.wire import Settings
from traces.build import build_workload
from traces.errors import InputError
from traces.fingerprints import pool_fingerprint
from traces.record import Record
from traces.scenario import Scenario
from traces.scenario.pools import EnginePool
from traces.scenario.replay import Replay


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. ``requests``: that have an outcome; ``until_s``: when arrivals end."""

    now_s: float
    until_s: float
    requests: int
    offered: int


Watch = Callable[[Progress], None]


class World:
    """A scenario, its workload, its policies, and what is to be written of it.

    Raises:
        InputError: the scenario asks for what only the simulator does, or its workload cannot be made.
    """

    def __init__(self, scenario: Scenario) -> None:
        if faults := list(_not_carried_out(scenario)):
            raise InputError(*faults)
        self.scenario = scenario
        self.choice = scenario.replay or Replay()
        self.built = build_workload(scenario)
        self.workload = self.built.workload
        self.journal = Journal()
        self.decisions: DecisionLog | None = decision_log(scenario.decisions)
        self.told_decisions: Iterable[Any] = ()
        """Decisions that were logged inside engines of other processes."""

    @cached_property
    def pools(self) -> Sequence[EnginePool]:
        """The pool of each engine, by index."""
        return [pool for pool in self.scenario.pools for _ in pool.engines]

    @property
    def engines(self) -> list[str]:
        """Ids by index."""
        return [f"e{index}" for index in range(len(self.pools))]

    @cached_property
    def fingerprints(self) -> Sequence[Fingerprint | None]:
        """What policies believe of each engine's step time; ``None`` where the library knows nothing of the deployment."""
        return list(map(_believed, self.pools))

    def fleet(self, clock: Clock, *, observe_s: float = 0.0) -> Fleet:
        """The router with its fleet, still without engines."""
        chosen = self.scenario.policy.router
        router: Router = registry.build("router", chosen.name, chosen.params, self.scenario.seed)
        if self.decisions is not None:
            router = self.decisions.router(router)
        gpus = [(pool.hardware.gpu, pool.gpus_per_engine) for pool in self.pools]
        return Fleet(clock, router, self.journal, gpus, observe_s=observe_s)

    def batcher(self, engine: str) -> Batcher:
        """A batcher for an engine in this process, logged where decisions are."""
        chosen = self.scenario.policy.batcher
        batcher: Batcher = registry.build("batcher", chosen.name, chosen.params, self.scenario.seed)
        return batcher if self.decisions is None else self.decisions.batcher(engine, batcher)

    def speculator(self, engine: str) -> Speculator:
        """A speculator for an engine in this process, logged where decisions are."""
        chosen = self.scenario.policy.speculation
        speculator: Speculator = registry.build("speculator", chosen.name, chosen.params, self.scenario.seed)
        return speculator if self.decisions is None else self.decisions.speculator(engine, speculator)

    def settings(self, index: int, *, log: str | None = None, socket: str | None = None, deadline: bool = True) -> Settings:
        """How the plug-in in the ``index``-th engine is set up."""
        speculation = self.scenario.policy.speculation
        chosen, pool, believed = self.scenario.policy.batcher, self.pools[index], self.fingerprints[index]
        return Settings(
            engine=self.engines[index],
            index=index,
            model=pool.model,
            batcher=chosen.name,
            params=dict(chosen.params),
            speculator=speculation.name,
            speculator_params=dict(speculation.params),
            acceptance=() if pool.engine.speculative is None else pool.engine.speculative.acceptance,
            seed=self.scenario.seed,
            role=str(pool.role),
            tier=pool.hardware.tier,
            fingerprint=None if believed is None else believed.to_dict(),
            deadline_s=self.choice.deadline_s if deadline else None,
            decisions=self.scenario.decisions,
            observe_s=self.scenario.sim.observe_s,
            log=log,
            socket=socket,
        )

    def prompts(self, vocab: int) -> Prompts:
        return Prompts(self.workload, vocab, self.scenario.seed)

    @property
    def until_s(self) -> float:
        """No request is sent at or after this time."""
        return float("inf") if self.scenario.duration_s is None else self.scenario.duration_s

    @property
    def end_s(self) -> float:
        """The run ends at the latest here."""
        return float("inf") if self.scenario.end_s is None else self.scenario.end_s

    def progress(self, clock: Clock, fleet: Fleet) -> Progress:
        return Progress(clock.now(), float(self.workload.arrival_s[-1]), fleet.done, len(self.workload))

    def record(self, facts: Facts, wall_s: float) -> Record:
        """The run is over, and this is what it leaves."""
        facts_manifest = manifest(self.scenario, self.workload, self.fingerprints, self.journal, facts)
        facts_manifest |= {"wall_s": wall_s, "host": {"cores": os.cpu_count()}}
        made = tables(self.journal, self.workload.classes, self.engines, self.scenario)
        decisions = None if self.decisions is None else [*self.decisions, *self.told_decisions]
        return Record(facts_manifest, *made, decisions=decisions)


def _not_carried_out(scenario: Scenario) -> Iterator[str]:
    """What a scenario may say and a replay would pass over in silence."""
    mode = (scenario.replay or Replay()).engines
    if scenario.policy.scaler is not None and scenario.policy.scaler.name != "none":
        yield "policy.scaler: a replay does not start and stop engines as it goes; remove it, or simulate (`twinserve run`)"
    if scenario.failures is not None:
        yield "faults: a replay makes no engine fail; remove it, or simulate (`twinserve run`)"
    for pool in scenario.pools:
        if pool.role is not Role.BOTH:
            yield f"fleet: pool {pool.name}: a replay does not hand KV over from prefill to decode engines; remove its `role:`"
        if pool.hardware.pipeline_parallel > 1 and mode in ("virtual", "in-process"):
            yield f"fleet: pool {pool.name}: {mode} engines have one pipeline stage; set `pipeline_parallel: 1`"
        if pool.hardware.parked:
            yield f"fleet: pool {pool.name}: a replay has no parked engines; lower `gpus`, or simulate (`twinserve run`)"


def fingerprint_of(pool: EnginePool) -> Fingerprint:
    """The library's fingerprint of a pool's engines.

    Raises:
        InputError: there is none.
    """
    return pool_fingerprint(pool.model, pool.hardware)


def _believed(pool: EnginePool) -> Fingerprint | None:
    try:
        return fingerprint_of(pool)
    except InputError:
        return None
