"""Fleets for tests, built from plain numbers: engines with roles, start-up times and failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policies.batchers import VLLM
from policies.latency import FingerprintLatency
from policies.routers import LeastLoaded
from policies.types import EngineState
from sim.faults import Fault, strike
from sim.fleet import Fleet
from sim.journal import Journal
from sim.kernel import Kernel
from sim.load import Load
from sim.noise import StepNoise
from sim.prefixcache import ContentTrie
from sim.roles import KINDS
from sim.scheduler import EngineLimits
from sim.site import Site
from sim.steptime import StepTime
from tests.sim.cluster import SMALL_STEPS, Outcome
from traces.workload import Workload


def play_fleet(
    workload: Workload,
    sites: Sequence[Site],
    *,
    parked: Sequence[int] = (),
    router: Any = None,
    scaler: Any = None,
    faults: Sequence[Fault] = (),
    retries: int = 3,
    latency_s: float = 0.0,
    limits: EngineLimits | None = None,
    step: Mapping[str, float] = SMALL_STEPS,
    noise: float = 0.0,
    leap: bool = True,
    observe_s: float = 0.0,
    until_s: float = float("inf"),
    prefix_caching: bool = False,
    decisions: Any = None,
) -> Outcome:
    """Run ``workload`` on one engine per site, up to ``until_s``. ``parked``: indices of engines that are parked at the start."""
    limits = limits or EngineLimits()
    kernel, journal = Kernel(), Journal(len(workload))
    router = router or LeastLoaded()
    fleet = Fleet(
        kernel,
        decisions.router(router) if decisions else router,
        journal,
        observe_s=observe_s,
        retries=retries,
        link_latency_s=latency_s,
    )
    truth = StepTime.linear(max_batched_tokens=limits.max_num_batched_tokens, max_seqs=limits.max_num_seqs, **step)
    trie = ContentTrie(workload.block_tokens or limits.block_size) if prefix_caching else None
    engines = [
        KINDS[site.role][0](
            kernel,
            index,
            model=workload.classes[0].model,
            scheduler=KINDS[site.role][1](limits, trie=trie),
            steptime=truth,
            latency=FingerprintLatency(truth.fingerprint),
            batcher=VLLM(),
            noise=StepNoise(0, index, noise),
            journal=journal,
            listener=fleet,
            leap=leap,
            site=site,
        )
        for index, site in enumerate(sites)
    ]
    for index in parked:
        engines[index].state = EngineState.PARKED
    fleet.set_engines(engines)
    load = Load(kernel, workload, fleet.dispatch)
    fleet.on_done = load.on_done
    strike(kernel, engines, faults, fleet.fail)
    if scaler is not None:
        fleet.set_scaler(decisions.scaler(scaler) if decisions else scaler)
    kernel.play(until_s)
    fleet.close()
    return Outcome(journal, fleet, engines, kernel.events, kernel.now)
