"""The documented spaces: vLLM's knobs of today, and those of the paper's vLLM 0.4.2."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from policies.scoot.bounds import with_level
from policies.scoot.space import (
    Config,
    Knob,
    Levels,
    LogIntegers,
    Rule,
    Space,
    flag,
    halved_octaves,
    implies,
    powers_of_two,
)

OPTIONAL: dict[str, tuple[Any, ...]] = {
    "kv_cache_dtype": ("auto", "fp8"),
    "async_scheduling": (False, True),
    "scheduling_policy": ("fcfs", "priority"),
    "num_speculative_tokens": (0, 1, 2, 3, 4, 6, 8),
}
"""Knobs that are tuned when asked for, with their values; the first is the default."""

TILE = 256
"""Rows of a matrix product's largest tile. cuBLAS cuts the result into tiles whose edges are 64, 128 or 256 long; a step of one
token more than a multiple pays for a whole row of tiles more. What is a multiple of the largest is one of all.

Source: NVIDIA, "Matrix Multiplication Background User's Guide", sections 2.3 (tile dimensions) and 3.1 (tile quantization).
"""

_SEATS = implies(
    "max_num_seqs must not exceed max_num_batched_tokens",
    lambda c: c["max_num_seqs"] <= c["max_num_batched_tokens"],
    lambda c, _: {"max_num_seqs": 1 << (int(c["max_num_batched_tokens"]).bit_length() - 1)},
)


def _whole_prompts(longest: int, *, step: int | None, chunks: bool) -> Rule:
    """vLLM refuses to start without chunked prefill where a step may not hold the longest prompt.

    Repaired by a larger ``step``; with ``chunks`` every other time by chunked prefill, so that small steps stay as likely as
    others, and always where there is no step so large.
    """

    def changes(_: Config, draw: float) -> dict[str, Any]:
        if step is None or (chunks and draw < 0.5):
            return {"enable_chunked_prefill": True}
        return {"max_num_batched_tokens": step}

    return implies(
        f"without chunked prefill, max_num_batched_tokens must be at least max_model_len ({longest})",
        lambda c: c["enable_chunked_prefill"] or c["max_num_batched_tokens"] >= longest,
        changes,
    )


def vllm(
    *,
    gpus: int,
    min_tensor_parallel: int = 1,
    max_model_len: int,
    most_batched_tokens: int | None = None,
    present: Config | None = None,
    also: Collection[str] = (),
) -> Space:
    """The knobs of vLLM 0.26–0.32 that move latency or throughput, with the engine's own validity rules.

    ``tensor_parallel`` × replicas = ``gpus``: the rest of the GPUs hold further replicas. Source of the rules:
    vllm/config/scheduler.py and vllm/engine/arg_utils.py (0.32). Partial prefills (``max_num_partial_prefills``) are no knob of
    these versions any more; what bounds long prompts is ``long_prefill_token_threshold``.

    ``max_num_batched_tokens`` takes the multiples of ``TILE`` among 2^k and 3 · 2^k: vLLM's defaults and the list of its
    ``benchmarks/auto_tune`` are powers of two, and one value between two of them halves so coarse a step. ``max_num_seqs`` takes
    powers of two from 16, which are sizes that vLLM captures CUDA graphs for (multiples of 8, from 256 on of 16, up to 512).

    Args:
        gpus: GPUs of the service, a power of two.
        min_tensor_parallel: fewest GPUs that hold the weights, a power of two.
        max_model_len: prompt plus output at most, in tokens.
        most_batched_tokens: the largest step; by default twice ``max_model_len``, and 16384 at least.
        present: values of the configuration to start from where they differ from vLLM's defaults; they become levels.
        also: of ``OPTIONAL``, the knobs to tune besides. They change what is served (a precision, a draft) or need a workload
            that tells priorities, so nobody should find them changed unasked.

    Raises:
        ValueError: ``also`` names no such knob.
    """
    if unknown := sorted(set(also) - set(OPTIONAL)):
        raise ValueError(f"{unknown[0]} is no optional knob; there are {', '.join(OPTIONAL)}")
    default: dict[str, Any] = {
        "tensor_parallel": min_tensor_parallel,
        "max_num_seqs": 1024,
        "max_num_batched_tokens": 8192,
        "block_size": 16,
        "enable_chunked_prefill": True,
        "enable_prefix_caching": True,
        "long_prefill_token_threshold": 0,
        "gpu_memory_utilization": 0.92,
        "watermark": 0.0,
        **{name: OPTIONAL[name][0] for name in OPTIONAL if name in also},
        **(present or {}),
    }
    largest = max(16384, 2 * max_model_len) if most_batched_tokens is None else most_batched_tokens
    knobs: list[Knob] = [
        powers_of_two("tensor_parallel", min_tensor_parallel, gpus),
        powers_of_two("max_num_seqs", 16, 1024),
        halved_octaves("max_num_batched_tokens", TILE, max(TILE, largest), multiple=TILE),
        Levels("block_size", (16, 32, 64)),
        flag("enable_chunked_prefill"),
        flag("enable_prefix_caching"),
        Levels("long_prefill_token_threshold", (max_model_len // 8, max_model_len // 4, max_model_len // 2, 0)),  # 0 = no limit
        Levels("gpu_memory_utilization", (0.8, 0.85, 0.9, 0.92, 0.95, 0.98)),
        Levels("watermark", (0.0, 0.01, 0.05)),
        *(Levels(name, OPTIONAL[name]) for name in OPTIONAL if name in also),
    ]
    started = {knob.name: with_level(knob, default[knob.name]) for knob in knobs}
    steps = getattr(started["max_num_batched_tokens"], "values", ())
    step = min((tokens for tokens in steps if tokens >= max_model_len), default=None)
    return Space(tuple(started.values()), (_whole_prompts(max_model_len, step=step, chunks=True), _SEATS), default)


def _one_of_two(config: Config, draw: float) -> dict[str, bool]:
    """SCOOT's repair: with probability 0.67 one of the two is turned off, either alike, else both."""
    if draw < 0.67:
        return {("enable_chunked_prefill" if draw < 0.335 else "enable_prefix_caching"): False}
    return {"enable_chunked_prefill": False, "enable_prefix_caching": False}


def paper(*, gpus: int, min_tensor_parallel: int = 1, max_model_len: int) -> Space:
    """The nine knobs of vLLM 0.4.2 that the paper tunes, its known constraints and its repairs.

    Source: arXiv 2408.04323 §4 and Ketonmi/SCOOT (``ensure_hard_constr``); the repaired step budget is ``max_model_len`` rounded
    up to a power of two, as there.
    """
    whole = 1 << (max_model_len - 1).bit_length()
    knobs: tuple[Knob, ...] = (
        powers_of_two("tensor_parallel", min_tensor_parallel, gpus),
        powers_of_two("max_num_seqs", 64, 8192),
        LogIntegers("max_num_batched_tokens", 64, max(8192, 2 * whole)),
        Levels("block_size", (8, 16, 32)),
        Levels("scheduler_delay_factor", tuple(step / 5 for step in range(11))),
        flag("enable_chunked_prefill"),
        flag("enable_prefix_caching"),
        flag("disable_custom_all_reduce"),
        flag("use_v2_block_manager"),
    )
    rules = (
        implies(
            "vLLM 0.4.2 has no chunked prefill together with prefix caching",
            lambda c: not (c["enable_chunked_prefill"] and c["enable_prefix_caching"]),
            _one_of_two,
        ),
        _whole_prompts(whole, step=whole, chunks=False),
        _SEATS,
    )
    default = {
        "tensor_parallel": min_tensor_parallel,
        "max_num_seqs": 256,
        "max_num_batched_tokens": max(4096, whole),
        "block_size": 16,
        "scheduler_delay_factor": 0.0,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        "disable_custom_all_reduce": False,
        "use_v2_block_manager": False,
    }
    return Space(knobs, rules, default)
