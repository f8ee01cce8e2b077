"""vLLM's own scheduler, driven without a model: whoever has computed all its tokens is given the next one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import torch
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

MODEL_LEN = 4096
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
    ) -> None:
        model_len = MODEL_LEN if chunked else budget
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
        )
        spec = FullAttentionSpec(block_size=block, num_kv_heads=1, head_size=1, dtype=torch.float32)
        kv = KVCacheConfig(num_blocks=blocks + 1, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)])
        self.scheduler = Scheduler(
            vllm_config=config,
            kv_cache_config=kv,
            log_stats=True,
            structured_output_manager=StructuredOutputManager(config),
            block_size=block,
        )
        init_none_hash(sha256)
        self._hasher = get_request_block_hasher(block, sha256) if prefix_caching else None
        self._output = None

    def add(self, id: int, prompt: Sequence[int], output: int, priority: int = 0, arrival: float = 0.0) -> None:
        self.scheduler.add_request(
            Request(
                request_id=str(id),
                prompt_token_ids=list(prompt),
                sampling_params=SamplingParams(max_tokens=output, ignore_eos=True),
                pooling_params=None,
                block_hasher=self._hasher,
                priority=priority,
                arrival_time=arrival,
            )
        )

    def abort(self, id: int) -> None:
        self.scheduler.finish_requests(str(id), RequestStatus.FINISHED_ABORTED)

    def schedule(self) -> Step:
        output = self._output = self.scheduler.schedule()
        fresh = [*output.scheduled_new_reqs]
        resumed = set(output.scheduled_cached_reqs.resumed_req_ids)
        cached = {int(r.req_id): r.num_computed_tokens for r in fresh}
        data = output.scheduled_cached_reqs
        for id, computed in zip(data.req_ids, data.num_computed_tokens, strict=True):
            if id in resumed:
                cached[int(id)] = computed
        return Step(
            scheduled={int(id): tokens for id, tokens in output.num_scheduled_tokens.items()},
            preempted=tuple(sorted(int(id) for id in output.preempted_req_ids or ())),
            running=tuple(int(r.request_id) for r in self.scheduler.running),
            waiting=tuple(int(r.request_id) for r in self.scheduler.waiting),
            free_blocks=self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks(),
            cached=cached,
        )

    def advance(self) -> list[int]:
        """Give every request that has computed all its tokens the next one; returns who finished."""
        output = self._output
        ids = list(output.num_scheduled_tokens)
        requests = self.scheduler.requests
        sampled = [[FIRST_OUTPUT + int(id)] if requests[id].num_computed_tokens >= requests[id].num_tokens else [] for id in ids]
        result = ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={id: index for index, id in enumerate(ids)},
            sampled_token_ids=sampled,
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )
        finished = []
        for outputs in self.scheduler.update_from_output(output, result).values():
            finished += [int(o.request_id) for o in outputs.outputs if o.finish_reason is not None]
        return finished
