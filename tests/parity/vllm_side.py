"""vLLM's own scheduler, driven without a model: whoever has computed all its tokens is given the next one."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import torch
import vllm
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, SpeculativeConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import DraftTokenIds, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

VERSION = tuple(map(int, vllm.__version__.split(".")[:2]))
STOP = 7
"""Without ``ignore_eos`` a request ends at this token."""
FIRST_OUTPUT = 1_000_000
"""Request i is given this plus i as its next token, so that no two requests generate the same content."""


def write_model(folder: Path) -> Path:
    """A configuration that vLLM accepts; no weights are ever loaded."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 512,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "bfloat16",
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@dataclass(frozen=True)
class Step:
    """What one step of the scheduler did, in terms that both sides share."""

    scheduled: dict[int, int]
    preempted: tuple[int, ...]
    running: tuple[int, ...]
    waiting: tuple[int, ...]
    free_blocks: int
    drafts: dict[int, int]
    """Draft tokens that are verified."""
    cached: dict[int, int]
    """Requests admitted in this step, and the tokens that they found in the prefix cache."""


class VLLMSide:
    """One scheduler with ``blocks`` usable KV blocks (vLLM sets one more apart, the null block)."""

    def __init__(
        self,
        model: Path,
        *,
        max_seqs: int,
        budget: int,
        block: int,
        blocks: int,
        threshold: int = 0,
        prefix_caching: bool = False,
        policy: str = "fcfs",
        watermark: float = 0.0,
        reserve: bool = True,
        chunked: bool = True,
        model_len: int = 4096,
        method: str | None = None,
        drafts: int = 0,
        asynchronous: bool = False,
        stages: int = 1,
        ignore_eos: bool = True,
    ) -> None:
        scheduler = SchedulerConfig(
            max_num_seqs=max_seqs,
            max_num_batched_tokens=max(budget, max_seqs),
            max_num_scheduled_tokens=budget,
            max_model_len=model_len,
            enable_chunked_prefill=chunked,
            scheduler_reserve_full_isl=reserve,
            long_prefill_token_threshold=threshold,
            policy=policy,
            is_encoder_decoder=False,
            async_scheduling=False,
            watermark=watermark,
        )
        cache = CacheConfig(block_size=block, gpu_memory_utilization=0.9, enable_prefix_caching=prefix_caching)
        cache.num_gpu_blocks = blocks + 1
        config = VllmConfig(
            scheduler_config=scheduler,
            model_config=ModelConfig(model=str(model), skip_tokenizer_init=True, dtype="float16", seed=1, max_model_len=model_len),
            cache_config=cache,
            device_config=DeviceConfig("cpu"),
            speculative_config=SpeculativeConfig(model="ngram", num_speculative_tokens=drafts) if method else None,
        )
        if method:
            config.speculative_config.method = method  # a real one would have to load a drafter
        config.scheduler_config.async_scheduling = asynchronous
        config.parallel_config.pipeline_parallel_size = stages
        spec = FullAttentionSpec(block_size=block, num_kv_heads=1, head_size=1, dtype=torch.float32)
        kv = KVCacheConfig(num_blocks=blocks + 1, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)])
        self.scheduler = (AsyncScheduler if asynchronous else Scheduler)(
            vllm_config=config,
            kv_cache_config=kv,
            log_stats=True,
            structured_output_manager=StructuredOutputManager(config),
            block_size=block,
        )
        init_none_hash(sha256)
        self._hasher = get_request_block_hasher(block, sha256) if prefix_caching else None
        self._ignore_eos = ignore_eos
        self._by_priority = policy == "priority"
        self._ends: dict[str, int] = {}
        if asynchronous and stages > 1:
            self.scheduler.use_v2_model_runner = True  # the only one for which vLLM overlaps plans and stages
        self._under_way: deque[tuple[SchedulerOutput, set[str], set[str]]] = deque()
        """Planned steps: who samples from them, and whose drafts are padding."""

    def add(self, id: int, prompt: Sequence[int], output: int, priority: int = 0, arrival: float = 0.0) -> None:
        self._ends[str(id)] = output
        self.scheduler.add_request(
            Request(
                request_id=str(id),
                prompt_token_ids=list(prompt),
                sampling_params=SamplingParams(max_tokens=output, ignore_eos=True)
                if self._ignore_eos
                else SamplingParams(max_tokens=1 << 20, stop_token_ids=[STOP]),
                pooling_params=None,
                block_hasher=self._hasher,
                priority=priority,
                arrival_time=arrival,
            )
        )

    def abort(self, id: int) -> None:
        self.scheduler.finish_requests(str(id), RequestStatus.FINISHED_ABORTED)

    def schedule(self) -> Step:
        output = self.scheduler.schedule()
        fresh = [*output.scheduled_new_reqs]
        resumed = set(output.scheduled_cached_reqs.resumed_req_ids)
        cached = {int(r.req_id): r.num_computed_tokens for r in fresh}
        data = output.scheduled_cached_reqs
        for id, computed in zip(data.req_ids, data.num_computed_tokens, strict=True):
            if id in resumed:
                cached[int(id)] = computed
        requests = self.scheduler.requests
        sampled = {id for id in output.num_scheduled_tokens if not requests[id].is_prefill_chunk}
        self._under_way.append((output, sampled, set(map(str, cached))))
        return Step(
            scheduled={int(id): tokens for id, tokens in output.num_scheduled_tokens.items()},
            drafts={int(id): len(drafts) for id, drafts in output.scheduled_spec_decode_tokens.items()},
            preempted=tuple(sorted(int(id) for id in output.preempted_req_ids or ())),
            running=tuple(int(r.request_id) for r in self.scheduler.running),
            waiting=tuple(int(r.request_id) for r in self._waiting),
            free_blocks=self.free_blocks,
            cached=cached,
        )

    @property
    def _waiting(self) -> list[Request]:
        """Waiting requests in the order in which they are looked at; before 0.31 there is a queue for those that were skipped."""
        requests = [*getattr(self.scheduler, "skipped_waiting", ()), *self.scheduler.waiting]
        return sorted(requests) if self._by_priority else requests

    @property
    def free_blocks(self) -> int:
        return self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_requests()

    def advance(self, accept: Callable[[int, int, int], int] | None = None) -> list[int]:
        """End the oldest step under way: whoever has computed all its tokens is given the next one; returns who finished.

        ``accept``: (request, its output tokens so far, draft tokens) → how many of these it is given besides.
        """
        output, sampling, padded = self._under_way.popleft()
        ids = list(output.num_scheduled_tokens)
        result = ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={id: index for index, id in enumerate(ids)},
            sampled_token_ids=[self._tokens(output, id, accept, id in padded) if id in sampling else [] for id in ids],
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )
        finished = []
        for outputs in self.scheduler.update_from_output(output, result).values():
            finished += [int(o.request_id) for o in outputs.outputs if o.finish_reason is not None]
        return finished

    def _tokens(self, output: SchedulerOutput, id: str, accept: Callable[[int, int, int], int] | None, padded: bool) -> list[int]:
        request = self.scheduler.requests.get(id)
        if request is None:
            return [FIRST_OUTPUT]  # of a request that is gone
        drafts = len(output.scheduled_spec_decode_tokens.get(id, ()))
        given = request.num_output_tokens
        accepted = accept(int(id), given, drafts) if drafts and not padded else 0
        ends = self._ends[id]
        return [STOP if at + 1 == ends else FIRST_OUTPUT + int(id) for at in range(given, given + 1 + accepted)]

    def propose(self, drafts: dict[int, int]) -> None:
        """Draft tokens for the next step, without asynchronous scheduling."""
        self.scheduler.update_draft_token_ids(DraftTokenIds([str(id) for id in drafts], [[5] * n for n in drafts.values()]))
