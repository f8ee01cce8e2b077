"""The objects of one run that are the same whichever engines it is on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

from policies import registry
from policies.decisionlog import DecisionLog, decision_log
from policies.fingerprint import Fingerprint
from policies.interference import slowed
from policies.protocols import Batcher, Router, Scaler, Speculator
from policies.types import EngineState, Role
from replay.clock import Clock, Turn
from replay.drafter import has_probabilities, synthetic
from replay.engine import Engine
from replay.faults import strike
from replay.fleet import Fleet
from replay.journal import Journal
from replay.knobs import device
from replay.lifecycle import Idle, Power
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
        seats = [pool.seat for pool in self.pools]
        failures = self.scenario.failures
        retries = 0 if failures is None else failures.allowed
        self._fleet = Fleet(clock, router, self.journal, seats, gpus=self.scenario.inventory, observe_s=observe_s, retries=retries)
        return self._fleet

    def set_going(self, fleet: Fleet, engines: Sequence[Engine], clock: Clock, power: Power | None = None) -> None:
        """Put the engines into the fleet, and have it scaled and struck by faults as the scenario says.

        ``power``: default: engines take as long to come up as the scenario says.
        """
        for index, engine in enumerate(engines):
            if self.pools[index].parked(index):
                engine.state = EngineState.PARKED
        fleet.set_engines(engines, power or Idle(clock, [pool.start_up_s for pool in self.pools]))
        scenario = self.scenario
        if scenario.failures is not None:
            strike(clock, engines, scenario.failures, scenario.seed, fleet.fail)
        if (chosen := scenario.policy.scaler) is not None:
            scaler: Scaler = registry.build("scaler", chosen.name, chosen.params, scenario.seed)
            self._set_intents(fleet, clock)
            fleet.set_scaler(scaler if self.decisions is None else self.decisions.scaler(scaler))

    def _set_intents(self, fleet: Fleet, clock: Clock) -> None:
        """Those of the start are there before the scaler is asked for the first time."""
        for at_s, model, intent in self.scenario.wishes:
            said = partial(fleet.set_intent, model, intent)
            if at_s:
                clock.call_at(at_s, Turn.FLEET, said)
            else:
                said()

    @property
    def goes_on(self) -> bool:
        """Something happens by time alone, when all requests are done too."""
        return self.scenario.failures is not None or self.scenario.policy.scaler is not None

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
        drafting = pool.engine.speculative
        on_cpu = self.choice.engines != "virtual" and device(self.choice) == "cpu"
        return Settings(
            engine=self.engines[index],
            index=index,
            model=pool.model,
            batcher=chosen.name,
            params=dict(chosen.params),
            speculator=speculation.name,
            speculator_params=dict(speculation.params),
            acceptance=() if drafting is None else drafting.acceptance or (),
            draft_s=0.0 if drafting is None else drafting.draft_time_s,
            synthetic=on_cpu and synthetic(pool, self.choice),
            probabilities=self.choice.engines != "virtual" and has_probabilities(pool, self.choice),
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
        facts_manifest |= {"wall_s": wall_s, "host": {"cores": os.cpu_count()}, **self._events()}
        made = tables(self.journal, self.workload.classes, self.engines, self.scenario)
        decisions = None if self.decisions is None else [*self.decisions, *self.told_decisions]
        return Record(facts_manifest, *made, decisions=decisions)

    def _events(self) -> dict[str, Any]:
        """What happened beyond serving, where it could happen."""
        events: dict[str, Any] = {}
        if transfers := self._fleet.hand_overs:
            events["kv_transfers"] = {"transfers": transfers}
        if self.scenario.failures is not None:
            events["faults"] = asdict(self._fleet.losses)
        return events


def _not_carried_out(scenario: Scenario) -> Iterator[str]:
    """What a scenario may say and a replay would pass over in silence."""
    mode = (scenario.replay or Replay()).engines
    if scenario.failures is not None and mode == "attached":
        yield "faults: a replay breaks no servers that it did not start; remove it, use `engines: managed`, or simulate"
    for pool in scenario.pools:
        if pool.role is not Role.BOTH and mode == "virtual":
            yield f"fleet: pool {pool.name}: virtual engines have no KV that they could hand over; remove its `role:`, or simulate"
        if pool.hardware.engines_per_gpu > 1 and mode == "virtual":
            yield f"fleet: pool {pool.name}: virtual engines have GPUs to themselves; remove its `share:`, or simulate"
        if pool.hardware.pipeline_parallel > 1 and mode == "in-process":
            yield f"fleet: pool {pool.name}: in-process engines have one pipeline stage; set `pipeline_parallel: 1`"
        if pool.engine.speculative is not None and pool.engine.speculative.drafter is not None:
            yield f"engine.speculative.drafter: pool {pool.name}: is only simulated; give `acceptance:` rates in its place"


def fingerprint_of(pool: EnginePool) -> Fingerprint:
    """The library's fingerprint of a pool's engines.

    Raises:
        InputError: there is none.
    """
    return pool_fingerprint(pool.model, pool.hardware)


def _believed(pool: EnginePool) -> Fingerprint | None:
    try:
        return slowed(fingerprint_of(pool), pool.slowdown)
    except InputError:
        if pool.hardware.fingerprint is not None:
            raise
        return None
