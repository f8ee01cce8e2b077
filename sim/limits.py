"""An engine's knobs that bound a step, and what speculative decoding and overlapped steps take of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNLIMITED = 1 << 40

VERSIONS = {f"0.{minor}": (0, minor) for minor in range(26, 33)}
"""Of vLLM, whose rules are known."""

Method = Literal["ngram", "draft_model", "eagle", "eagle3", "mtp"]


@dataclass(frozen=True, slots=True)
class Speculative:
    """Speculative decoding as vLLM is told of it (``--speculative-config``)."""

    method: Method
    num_speculative_tokens: int

    @property
    def reads_hidden_states(self) -> bool:
        """The drafter goes on from the target's hidden states (vLLM's ``use_eagle``)."""
        return self.method in ("eagle", "eagle3", "mtp")

    @property
    def lookahead(self) -> int:
        """KV slots that the drafter writes beyond the tokens that the target is scheduled for."""
        return 0 if self.method == "ngram" else self.num_speculative_tokens

    @property
    def slots(self) -> int:
        """What a request takes of the step's input beyond its tokens: a draft model's input keeps one more."""
        return int(self.method == "draft_model")


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """The engine knobs that bound a step, under vLLM's names and with its defaults. ``kv_blocks``: blocks that can hold data.

    ``async_scheduling``: a step is planned before the last one's tokens are known. ``ignore_eos``: requests end at their
    ``max_tokens``, which the scheduler knows, as in benchmarks; otherwise at a token that comes as a surprise. ``vllm_version``:
    whose rules hold; docs/parity.md lists what differs.
    """

    max_num_seqs: int = 1024
    max_num_batched_tokens: int = 8192
    block_size: int = 16
    kv_blocks: int = 1 << 20
    long_prefill_token_threshold: int = 0
    enable_chunked_prefill: bool = True
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    watermark: float = 0.0
    scheduler_reserve_full_isl: bool = True
    max_model_len: int = UNLIMITED
    speculative: Speculative | None = None
    async_scheduling: bool = False
    pipeline_parallel: int = 1
    ignore_eos: bool = True
    vllm_version: tuple[int, int] = (0, 32)

    @property
    def watermark_blocks(self) -> int:
        """Blocks kept free when a request is admitted beside others; a share of all blocks, the null block included."""
        return int(self.watermark * (self.kv_blocks + 1))

    @property
    def batches(self) -> int:
        """Batches that are planned before the first of them has ended (vLLM's ``max_concurrent_batches``)."""
        return self.pipeline_parallel + self.async_scheduling

    @property
    def overlapped(self) -> bool:
        """Whether a step can hold more, or be planned sooner, than the plain loop of plan, compute, update allows."""
        return self.batches > 1 or self.speculative is not None
