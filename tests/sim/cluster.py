"""A small cluster for tests, built from plain numbers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.batchers import VLLM
from policies.latency import FingerprintLatency
from policies.routers import RoundRobin
from sim.engine import Engine
from sim.fleet import Fleet
from sim.journal import Journal
from sim.kernel import Kernel
from sim.load import Load
from sim.noise import StepNoise
from sim.prefixcache import ContentTrie
from sim.scheduler import EngineLimits, Scheduler
from sim.steptime import StepTime
from sim.tokens import TokenTimes
from traces.workload import Workload

SMALL_STEPS = {
    "overhead_s": 5e-3,
    "per_token_s": 1.5e-5,
    "per_prefill_attention_s": 1e-10,
    "per_decode_context_s": 3e-8,
}


@dataclass
class Outcome:
    """What a run leaves, as arrays by request id."""

    journal: Journal
    fleet: Fleet
    engines: list[Engine]
    events: int
    end_s: float

    def column(self, name: str) -> np.ndarray:
        return np.array(getattr(self.journal, name))

    def tokens(self) -> TokenTimes:
        return TokenTimes(self.journal, [e.noise for e in self.engines], [e.steptime for e in self.engines])


def play(
    workload: Workload,
    *,
    engines: int = 1,
    limits: EngineLimits | None = None,
    step: Mapping[str, float] = SMALL_STEPS,
    router: Any = None,
    batcher: Any = None,
    noise: float = 0.0,
    seed: int = 0,
    leap: bool = True,
    always_scan: bool = False,
    observe_s: float = 0.0,
    concurrency: Mapping[int, int] | None = None,
    until_s: float = float("inf"),
    decisions: Any = None,
    models: Sequence[str] | None = None,
    prefix_caching: bool = False,
) -> Outcome:
    """Run ``workload`` to its end (or to ``until_s``) on engines with linear step times. Each has a batcher of its own."""
    batcher = VLLM() if batcher is None else batcher
    limits = limits or EngineLimits()
    kernel, journal = Kernel(), Journal(len(workload))
    router = router or RoundRobin()
    fleet = Fleet(kernel, decisions.router(router) if decisions else router, journal, observe_s=observe_s)
    truth = StepTime.linear(max_batched_tokens=limits.max_num_batched_tokens, max_seqs=limits.max_num_seqs, **step)
    trie = ContentTrie(workload.block_tokens or limits.block_size) if prefix_caching else None
    members = [
        Engine(
            kernel,
            index,
            model=models[index] if models else workload.classes[0].model,
            scheduler=Scheduler(limits, trie=trie, always_scan=always_scan),
            steptime=truth,
            latency=FingerprintLatency(truth.fingerprint),
            batcher=copy.deepcopy(batcher) if engines > 1 else batcher,
            noise=StepNoise(seed, index, noise),
            journal=journal,
            listener=fleet,
            leap=leap,
        )
        for index in range(engines)
    ]
    fleet.set_engines(members)
    load = Load(kernel, workload, fleet.dispatch, concurrency=concurrency)
    fleet.on_done = load.on_done
    kernel.play(until_s)
    fleet.close()
    return Outcome(journal, fleet, members, kernel.events, kernel.now)
