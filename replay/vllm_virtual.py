"""vLLM's own scheduler with no model behind it, in virtual time: each step lasts what the fingerprint says.

A rung between the simulator, which mirrors vLLM's scheduler, and a GPU, which runs it: whatever vLLM's scheduling code does, it
does here, anywhere, and the simulator is held against it over whole traces.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, SpeculativeConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import DraftTokenIds, ModelRunnerOutput
from vllm.v1.request import Request as VLLMRequest
from vllm.v1.request import RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from policies.drafting.acceptance import Acceptance
from policies.protocols import Batcher, Speculator
from policies.types import Role
from replay.clock import Turn, VirtualClock
from replay.engine import Listener
from replay.fleet import Fleet
from replay.journal import Journal
from replay.load import Load
from replay.manifest import Facts
from replay.prompts import RESERVED, Prompts
from replay.report import DirectReport
from replay.request import Request
from replay.stages import Stages
from replay.vllm_model import stand_in, write_model
from replay.vllm_scheduler import SteeredAsyncScheduler, SteeredScheduler
from replay.vllm_views import LiveEngine, Viewed, live
from replay.wire import KEY, Left, Settings, settle, told
from replay.world import Watch, World, fingerprint_of
from traces.hardware import stage_layers
from traces.scenario.pools import EnginePool
from traces.scenario.speculative import Speculative

IDLE_POLL_S = 1e-3
"""vLLM's engine loop sleeps this long when a plan leaves every request out (``EngineCoreProc.run_busy_loop``)."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """A step in the queue, which is over at ``end_s``. ``sampled``: who gets tokens from it; ``admitted``: who was, with it."""

    output: Any
    end_s: float
    sampled: frozenset[str]
    admitted: frozenset[str] = frozenset()

    @property
    def tokens(self) -> Mapping[str, int]:
        tokens: Mapping[str, int] = self.output.num_scheduled_tokens
        return tokens


class VirtualEngine(Viewed):
    """One engine: vLLM's scheduler, and tokens out of thin air. ``stages``: what batches pass, and for how long.

    ``speculative``: how drafts turn out, where there are any; every token of the longest chain takes its ``draft_time_s``.
    """

    def __init__(
        self,
        clock: VirtualClock,
        config: VllmConfig,
        settings: Settings,
        batcher: Batcher,
        speculator: Speculator,
        *,
        speculative: Speculative | None,
        stages: Stages,
        prompts: Prompts,
        journal: Journal,
        listener: Listener,
    ) -> None:
        self.id = settings.engine
        self.index = settings.index
        self.model = settings.model
        self.role = Role(settings.role)
        self._clock = clock
        self._stages = stages
        self._prompts = prompts
        self._listener = listener
        self._requests: dict[str, Request] = {}
        self._queue: deque[_Planned] = deque()
        self._ahead = config.parallel_config.pipeline_parallel_size + config.scheduler_config.async_scheduling
        """Steps in the queue at most."""
        self._executed = False
        """The last plan was not empty."""
        self._stirred = False
        """The oldest step is waited for, or another plan is about to be made."""
        self._life = 0
        """Counts its failures."""
        self._drafts = 0 if speculative is None else speculative.num_speculative_tokens
        self._draft_s = 0.0 if speculative is None else speculative.draft_time_s
        self._acceptance = Acceptance(settings.seed, (0.0,) if speculative is None else speculative.acceptance or (0.0,))
        block = config.cache_config.block_size
        spec = FullAttentionSpec(block_size=block, num_kv_heads=1, head_size=1, dtype=torch.float32)
        blocks = config.cache_config.num_gpu_blocks
        kind = SteeredAsyncScheduler if config.scheduler_config.async_scheduling else SteeredScheduler
        self._scheduler = kind(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)]),
            structured_output_manager=StructuredOutputManager(config),
            block_size=block,
            log_stats=False,
        )
        if self._scheduler.asynchronous and self._scheduler.use_pp:
            self._scheduler.use_v2_model_runner = True  # the only one for which vLLM overlaps plans and stages
        self._scheduler.steer(settings, batcher, clock, DirectReport(journal, self.index, self._left), speculator)
        init_none_hash(sha256)
        self._hasher = get_request_block_hasher(block, sha256) if config.cache_config.enable_prefix_caching else None

    @property
    def view(self) -> LiveEngine:
        return self._scheduler.view

    @property
    def empty(self) -> bool:
        return not self._requests

    def submit(self, request: Request) -> None:
        id = str(request.id)
        self._requests[id] = request
        left = request.true_output_tokens - request.generated_tokens
        sampling = SamplingParams(max_tokens=left, ignore_eos=True, extra_args={KEY: told(request)})
        self._scheduler.add_request(
            VLLMRequest(
                request_id=id,
                prompt_token_ids=self._prompts.known(request),
                sampling_params=sampling,
                pooling_params=None,
                arrival_time=request.arrival_s,
                priority=request.priority,
                block_hasher=self._hasher,
            )
        )
        self._stir(self._clock.now())

    def abort(self, request: Request) -> None:
        if self._requests.pop(str(request.id), None) is not None:
            self._stages.forget(str(request.id))
            self._scheduler.finish_requests(str(request.id), RequestStatus.FINISHED_ABORTED)

    def lose(self) -> Sequence[Request]:
        lost = [self._requests[str(view.id)] for view in (*self.view.running, *self.view.waiting)]
        self._requests.clear()
        self._queue.clear()
        self._scheduler.lose()
        self._life += 1
        self._stages.clear()
        self._stirred = self._executed = False
        return lost

    def close(self) -> None:
        self._scheduler.finish_requests(None, RequestStatus.FINISHED_ABORTED)
        self._requests.clear()

    # --- steps: ``EngineCore.step_with_batch_queue`` of vllm/v1/engine/core.py -----------------------------------------

    def _stir(self, time_s: float) -> None:
        if not self._stirred:
            self._stirred = True
            self._clock.call_at(time_s, Turn.STEP_START, self._while_alive(self._fill))

    def _while_alive(self, action: Callable[[], None]) -> Callable[[], None]:
        """``action``, unless the engine has failed by then."""
        life = self._life
        return lambda: action() if life == self._life else None

    def _fill(self) -> None:
        """Plan steps until the queue is full or there is something to wait for."""
        self._stirred = False
        scheduler, queue = self._scheduler, self._queue
        while scheduler.has_requests() or queue:
            self._executed = False
            if scheduler.has_requests():
                queue.append(self._plan())
                self._executed = bool(queue[-1].tokens)
                if len(queue) < self._ahead and (self._executed or scheduler.has_requests()):
                    if self._executed:
                        continue
                    self._stir(self._clock.now() + IDLE_POLL_S)
                    return
            if queue[0].tokens:
                self._stirred = True
                self._clock.call_at(queue[0].end_s, Turn.STEP_END, self._while_alive(self._end))
                return
            queue.popleft()
            if not self._executed and scheduler.has_requests():
                self._stir(self._clock.now() + IDLE_POLL_S)
                return

    def _plan(self) -> _Planned:
        scheduler, now = self._scheduler, self._clock.now()
        output = scheduler.schedule()
        if not output.num_scheduled_tokens:
            return _Planned(output, now, frozenset())
        # whoever is admitted with drafts is padded with them: nothing was drafted yet
        admitted = {data.req_id for data in output.scheduled_new_reqs} | set(output.scheduled_cached_reqs.resumed_req_ids)
        end_s = self._stages.send(output.num_scheduled_tokens, scheduler.planned_shape, self._draft_s * scheduler.drafted, now)
        sampled = frozenset(id for id in output.num_scheduled_tokens if not scheduler.requests[id].is_prefill_chunk)
        self._stages.sampled(sampled, end_s)
        return _Planned(output, end_s, sampled, frozenset(admitted))

    def _end(self) -> None:
        """The oldest step is over."""
        now = self._clock.now()
        listener, requests, planned = self._listener, self._requests, self._queue.popleft()
        outcome = self._scheduler.update_from_output(planned.output, self._tokens(planned))
        if self._drafts and not self._scheduler.asynchronous:
            self._propose()
        done = []
        for outputs in outcome.values():
            for one in outputs.outputs:
                if (request := requests.get(one.request_id)) is None:
                    continue
                listener.on_token(request, len(one.new_token_ids), now)
                if one.finish_reason is not None:
                    done.append(requests.pop(one.request_id))
        for request in done:
            self._stages.forget(str(request.id))
            listener.on_finished(request, now)
        self._stirred = False
        waits = not self._executed and self._scheduler.has_requests()
        self._stir(now + IDLE_POLL_S if waits else now)

    def _tokens(self, planned: _Planned) -> ModelRunnerOutput:
        """What a model would have answered: a token, and the accepted ones of its drafts, for all whose tokens are computed."""
        ids = list(planned.tokens)
        drafts = planned.output.scheduled_spec_decode_tokens
        sampled: list[list[int]] = []
        for id in ids:
            request = self._scheduler.requests.get(id)
            if id not in planned.sampled:
                sampled.append([])
                continue
            accepted = 0
            if request is not None and id in drafts and id not in planned.admitted:
                accepted = self._acceptance.accepted(int(id), live(request).generated_tokens, len(drafts[id]))
            sampled.append(self._prompts.output(int(id), 1 + accepted))
        return ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={id: index for index, id in enumerate(ids)},
            sampled_token_ids=sampled,
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )

    def _propose(self) -> None:
        """A full chain of drafts for everyone who decodes."""
        ids = [request.request_id for request in self._scheduler.running if not request.is_prefill_chunk]
        self._scheduler.update_draft_token_ids(DraftTokenIds(ids, [[RESERVED] * self._drafts for _ in ids]))

    def _left(self, left: Left) -> None:
        request = self._requests.get(str(left.id))
        if request is not None:
            settle(request, left)


def virtual_config(pool: EnginePool, folder: Path) -> VllmConfig:
    """vLLM's configuration with a pool's knobs. ``folder``: where a model configuration may be written."""
    engine = pool.engine
    model = write_model(stand_in(pool.shape, "tiny"), folder / pool.name)
    knobs = SchedulerConfig(
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        max_model_len=pool.window,
        enable_chunked_prefill=engine.enable_chunked_prefill,
        scheduler_reserve_full_isl=engine.scheduler_reserve_full_isl,
        long_prefill_token_threshold=engine.long_prefill_token_threshold,
        policy=engine.scheduling_policy,
        watermark=engine.watermark,
        is_encoder_decoder=False,
        async_scheduling=False,
    )
    cache = CacheConfig(
        block_size=engine.block_size, gpu_memory_utilization=0.9, enable_prefix_caching=engine.enable_prefix_caching
    )
    cache.num_gpu_blocks = pool.kv_blocks + 1  # vLLM sets one apart, the null block
    config = VllmConfig(
        model_config=ModelConfig(model=str(model), skip_tokenizer_init=True, dtype="float16", seed=0, max_model_len=pool.window),
        scheduler_config=knobs,
        cache_config=cache,
        device_config=DeviceConfig("cpu"),
    )
    config.scheduler_config.async_scheduling = engine.async_scheduling  # which the CPU's platform turns off
    config.parallel_config.pipeline_parallel_size = pool.hardware.pipeline_parallel
    if (speculative := engine.speculative) is not None:
        config.speculative_config = SpeculativeConfig(model="ngram", num_speculative_tokens=speculative.num_speculative_tokens)
        config.speculative_config.method = speculative.method  # a real one would have to load a drafter
    return config


def _last_done(request: Request, clock: VirtualClock, fleet: Fleet, load: Load) -> None:
    """The run ends with its last request, although scalers and faults would keep it going."""
    load.on_done(request)
    if load.exhausted and fleet.done == fleet.offered:
        clock.stop()


def run_virtual(world: World, folder: Path, watch: Watch | None) -> Facts:
    """Play a scenario in virtual time.

    Raises:
        InputError: no fingerprint tells how long a step lasts.
    """
    clock = VirtualClock()
    fleet = world.fleet(clock, observe_s=world.scenario.sim.observe_s)
    configs = {pool.name: virtual_config(pool, folder) for pool in world.scenario.pools}
    prompts = world.prompts(min(pool.shape.vocab for pool in world.scenario.pools))
    engines = [
        VirtualEngine(
            clock,
            configs[pool.name],
            world.settings(index, deadline=False),
            world.batcher(f"e{index}"),
            world.speculator(f"e{index}"),
            speculative=pool.engine.speculative,
            stages=Stages(fingerprint_of(pool), [*map(len, stage_layers(pool.shape.layers, pool.hardware.pipeline_parallel))]),
            prompts=prompts,
            journal=world.journal,
            listener=fleet,
        )
        for index, pool in enumerate(world.pools)
    ]
    load = Load(clock, world.workload, fleet.dispatch, concurrency=world.built.concurrency, until_s=world.until_s)
    fleet.on_done = load.on_done
    world.set_going(fleet, engines, clock)
    if world.goes_on:
        fleet.on_done = lambda request: _last_done(request, clock, fleet, load)
    load.start()
    began = time.perf_counter()
    clock.play(world.end_s, None if watch is None else lambda: watch(world.progress(clock, fleet)))
    loop_s = time.perf_counter() - began
    fleet.close()
    knobs = {engine.id: engine.view.size for engine in engines}
    return Facts("virtual", knobs, clock.now(), more={"noise": 0.0, "loop_s": loop_s, "loop_events": clock.events})
