"""vLLM's ExampleConnector, which hands KV over through files, made to serve whole traces.

A prefill engine (``kv_producer``) saves a prompt's KV in the step that computes the last of it, in whatever chunks it was computed;
ExampleConnector saves it in the first. A decode engine (``kv_consumer``) loads it once, and computes it itself after a preemption.
A prompt that is no longer than a block has nothing to hand over: it is computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.example_connector import ExampleConnector, ExampleConnectorMetadata


class FolderConnector(ExampleConnector):  # type: ignore[misc]
    """The files lie in ``shared_storage_path``, a folder per prompt, and stay there as long as the run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._saving: dict[str, tuple[Sequence[int], list[int]]] = {}
        """Prompts that are being computed and their blocks, by vLLM's request id."""
        self._loaded: set[str] = set()

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int, bool]:
        if not self._kv_transfer_config.is_kv_consumer or request.request_id in self._loaded:
            return 0, False
        found, _ = super().get_num_new_matched_tokens(request, num_computed_tokens)
        return max(0, found or 0), False

    def build_connector_meta(self, scheduler_output: Any) -> ExampleConnectorMetadata:
        meta = ExampleConnectorMetadata()
        for new in scheduler_output.scheduled_new_reqs:
            self._loads(meta, new.req_id, new.prompt_token_ids, new.block_ids[0])
            self._saves(meta, scheduler_output, new.req_id, new.num_computed_tokens, new.prompt_token_ids, new.block_ids[0])
        cached = scheduler_output.scheduled_cached_reqs
        for id, computed, blocks in zip(cached.req_ids, cached.num_computed_tokens, cached.new_block_ids, strict=True):
            prompt, held = self._saving.get(id, ((), []))
            if id in self._requests_need_load:
                self._loads(meta, id, self._requests_need_load[id].prompt_token_ids, blocks[0])
            elif prompt:
                held = list(blocks[0]) if id in cached.resumed_req_ids else held + list(blocks[0] if blocks else ())
                self._saves(meta, scheduler_output, id, computed, prompt, held)
        return meta

    def request_finished(self, request: Any, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
        self._saving.pop(request.request_id, None)
        self._loaded.discard(request.request_id)
        return False, None

    def _loads(self, meta: ExampleConnectorMetadata, id: str, prompt: Sequence[int], blocks: Sequence[int]) -> None:
        if self._requests_need_load.pop(id, None) is not None:
            self._loaded.add(id)
            # the last token is the prefill engine's: its KV is nowhere yet
            meta.add_request(list(prompt[:-1]), list(blocks), self._block_size, is_store=False, mm_hashes=[])

    def _saves(
        self, meta: ExampleConnectorMetadata, step: Any, id: str, computed: int, prompt: Sequence[int], blocks: Sequence[int]
    ) -> None:
        if not self._kv_transfer_config.is_kv_producer:
            return
        if computed + step.num_scheduled_tokens[id] < len(prompt):
            self._saving[id] = prompt, list(blocks)
            return
        self._saving.pop(id, None)
        if len(prompt) > self._block_size and not self._found_match_for_prompt([*prompt, 0], []):
            meta.add_request(list(prompt), list(blocks), self._block_size, is_store=True, mm_hashes=[])
