"""The connector that hands KV over through files, under vLLM's own scheduler; no model runs."""

from __future__ import annotations

from pathlib import Path

import torch
from vllm.config import KVTransferConfig
from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from replay.vllm_virtual import virtual_config
from tests.parity.replaying import IN_PROCESS, scenario

BLOCK = 32
Saved = list[tuple[int, bool]]
"""Tokens whose KV is saved (true) or loaded."""


class Side:
    """One engine's scheduler with its half of the connector, whose worker's half only makes and needs folders."""

    def __init__(self, role: str, folder: Path) -> None:
        pool, *_ = scenario(IN_PROCESS, folder, "engine.max_num_batched_tokens=64", "engine.enable_prefix_caching=off").pools
        config = virtual_config(pool, folder)
        config.scheduler_config.disable_hybrid_kv_cache_manager = True
        config.kv_transfer_config = KVTransferConfig(
            kv_connector="FolderConnector",
            kv_connector_module_path="replay.vllm_connector",
            kv_role=role,
            kv_connector_extra_config={"shared_storage_path": str(folder / "kv")},
        )
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
        blocks = config.cache_config.num_gpu_blocks
        self.scheduler = Scheduler(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)]),
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK,
            log_stats=False,
        )

    def serve(self, prompt: list[int], tokens: int) -> tuple[list[int], Saved]:
        """The tokens of each step, and what was saved or loaded."""
        sampling = SamplingParams(max_tokens=tokens, ignore_eos=True)
        request = Request("r", list(prompt), sampling, None, arrival_time=0.0)
        self.scheduler.add_request(request)
        steps, moved = [], []
        while not request.is_finished():
            output = self.scheduler.schedule()
            steps.append(output.num_scheduled_tokens["r"])
            for one in output.kv_connector_metadata.requests:
                folder = Path(self.scheduler.connector._generate_foldername_debug(one.token_ids, []))
                assert one.is_store != folder.exists()
                folder.mkdir(parents=True, exist_ok=True)
                moved.append((len(one.slot_mapping), one.is_store))
            sampled = [] if request.is_prefill_chunk else [7]
            self.scheduler.update_from_output(
                output,
                ModelRunnerOutput(["r"], {"r": 0}, [sampled], logprobs=None, prompt_logprobs_dict={}, pooler_output=[]),
            )
        self.scheduler.schedule()  # which lets go of the request
        return steps, moved


def test_a_prompt_is_saved_with_its_last_chunk_and_loaded_up_to_its_last_block(tmp_path: Path) -> None:
    prefill, decode = Side("kv_producer", tmp_path), Side("kv_consumer", tmp_path)
    for length in (20, 32, 33, 64, 65, 150, 192):
        prompt = [(31 * length + place) % 400 + 20 for place in range(length)]
        whole = (length - 1) // BLOCK * BLOCK
        steps, moved = prefill.serve(prompt, 1)
        assert sum(steps) == length
        assert moved == ([(whole, True)] if whole else [])
        steps, moved = decode.serve([*prompt, 7], 3)
        assert moved == ([(whole, False)] if whole else [])
        assert steps == [length + 1 - whole, 1, 1]
        assert prefill.serve(prompt, 1)[1] == [], "what is there is not saved again"
