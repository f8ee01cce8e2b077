"""The engines of a scenario's pools, built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from policies.drafting.acceptance import Acceptance
from policies.drafting.known import DRAFTERS
from policies.drafting.world import DraftWorld
from policies.fingerprint import Fingerprint
from policies.interference import slowed
from policies.latency import FingerprintLatency
from policies.protocols import Batcher, Speculator
from policies.types import EngineState
from sim.drafters import Drafter, KnownDrafter, RatedDrafter
from sim.engine import Engine, Listener
from sim.journal import Journal
from sim.kernel import Kernel
from sim.limits import VERSIONS, EngineLimits, Speculative
from sim.noise import StepNoise
from sim.pipeline import PipelinedEngine
from sim.prefixcache import ContentTrie
from sim.roles import KINDS
from sim.site import Site
from sim.speculation import Speculation
from sim.steptime import StepTime
from sim.stepwise import StepwiseScheduler
from traces.hardware import stage_layers
from traces.scenario import Scenario
from traces.scenario.pools import EnginePool
from traces.scenario.speculative import Speculative as Drafting
from traces.workload import Workload


def build_engines(
    scenario: Scenario,
    fingerprints: Sequence[Fingerprint],
    workload: Workload,
    kernel: Kernel,
    journal: Journal,
    listener: Listener,
    batcher: Callable[[str], Batcher],
    speculator: Callable[[str], Speculator],
) -> list[Engine]:
    """All engines, pool by pool. ``fingerprints``: one per pool. ``batcher``, ``speculator``: an engine's, by its id."""
    engines: list[Engine] = []
    for pool, fingerprint in zip(scenario.pools, fingerprints, strict=True):
        knobs = pool.engine
        limits = engine_limits(pool)
        trie = ContentTrie(workload.block_tokens or knobs.block_size) if knobs.enable_prefix_caching else None
        truth = StepTime(fingerprint, max_batched_tokens=limits.max_num_batched_tokens, max_seqs=limits.max_num_seqs)
        belief = FingerprintLatency(slowed(fingerprint, pool.slowdown))
        asked = scenario.sim.noise
        sigma, quantiles = (fingerprint.residual, fingerprint.noise) if asked is None else (asked, ())
        for index in pool.engines:
            common: dict[str, Any] = {
                "model": pool.model,
                "steptime": truth,
                "latency": belief,
                "batcher": batcher(f"e{index}"),
                "noise": StepNoise(scenario.seed, index, sigma, quantiles),
                "journal": journal,
                "listener": listener,
                "leap": scenario.sim.leap,
                "site": _site(pool),
            }
            if limits.overlapped:
                stepwise = StepwiseScheduler(limits, trie=trie)
                speculation = None
                if knobs.speculative is not None:
                    speculation = Speculation(
                        f"e{index}",
                        speculator(f"e{index}"),
                        _drafter(knobs.speculative, scenario.seed, workload),
                        knobs.speculative.num_speculative_tokens,
                        ahead=knobs.async_scheduling,
                        draft_s=knobs.speculative.draft_time_s,
                    )
                layers = stage_layers(pool.shape.layers, limits.pipeline_parallel)
                engine: Engine = PipelinedEngine(
                    kernel, index, scheduler=stepwise, layers=[*map(len, layers)], speculation=speculation, **common
                )
            else:
                kind, scheduler = KINDS[pool.role]
                engine = kind(kernel, index, scheduler=scheduler(limits, trie=trie), **common)
            if pool.parked(index):
                engine.state = EngineState.PARKED
            engines.append(engine)
    return engines


def _drafter(told: Drafting, seed: int, workload: Workload) -> Drafter:
    if told.acceptance is not None:
        return RatedDrafter(Acceptance(seed, told.acceptance))
    names = sorted(set(told.drafters.values()))
    categories = [names.index(told.drafter_of(klass.name)) for klass in workload.classes]
    return KnownDrafter(DraftWorld(seed, [DRAFTERS[name] for name in names]), categories, told.tree_width)


def engine_limits(pool: EnginePool) -> EngineLimits:
    """The knobs that bound a step, as the scheduler takes them."""
    knobs = pool.engine
    spec = knobs.speculative
    return EngineLimits(
        max_num_seqs=knobs.max_num_seqs,
        max_num_batched_tokens=knobs.max_num_batched_tokens,
        block_size=knobs.block_size,
        kv_blocks=pool.kv_blocks,
        long_prefill_token_threshold=knobs.long_prefill_token_threshold,
        enable_chunked_prefill=knobs.enable_chunked_prefill,
        scheduling_policy=knobs.scheduling_policy,
        watermark=knobs.watermark,
        scheduler_reserve_full_isl=knobs.scheduler_reserve_full_isl,
        max_model_len=pool.window,
        speculative=None if spec is None else Speculative(spec.method, spec.num_speculative_tokens),
        async_scheduling=knobs.async_scheduling,
        pipeline_parallel=pool.hardware.pipeline_parallel,
        ignore_eos=knobs.ignore_eos,
        vllm_version=VERSIONS[knobs.vllm_version],
    )


def _site(pool: EnginePool) -> Site:
    return Site(
        seat=pool.seat,
        role=pool.role,
        tier=pool.hardware.tier,
        kv_token_bytes=pool.kv_token_bytes,
        link_bytes_s=pool.link_bytes_s,
        pool=pool.name,
        beside=pool.beside,
    )
