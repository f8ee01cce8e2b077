"""Data sheets: what GPUs and models are, and how many KV tokens fit when the one holds the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from traces.errors import InputError

WEIGHT_BYTES = {"bf16": 2, "fp8": 1}
"""Bytes per weight of the linear layers by precision; embeddings and the language-model head stay in bf16, as in vLLM."""


@dataclass(frozen=True, slots=True)
class GPU:
    """One accelerator. ``memory_bytes``: what CUDA lets a process use. ``hbm_bytes_s``, ``bf16_flops``, ``fp8_flops`` (dense;
    ``None`` = no FP8 units) and ``nvlink_bytes_s`` (one direction): data-sheet peaks. ``usd_per_hour``: a default, set your own.
    """

    name: str
    title: str
    memory_bytes: int
    hbm_bytes_s: float
    bf16_flops: float
    fp8_flops: float | None
    nvlink_bytes_s: float
    usd_per_hour: float
    source: str


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A dense decoder-only transformer with grouped-query attention and a gated MLP. ``max_context``: in tokens."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_context: int
    source: str

    def weight_bytes(self, tensor_parallel: int = 1, precision: str = "bf16") -> int:
        """Bytes of weights on each GPU; embeddings are not tied to the head.

        Raises:
            InputError: the precision is unknown or the heads cannot be split so many ways.
        """
        self._check(tensor_parallel, precision)
        attention = self.hidden * (2 * self.heads + 2 * self.kv_heads) * self.head_dim
        linear = self.layers * (attention + 3 * self.hidden * self.intermediate)
        norms = (2 * self.layers + 1) * self.hidden
        return (linear * WEIGHT_BYTES[precision] + 2 * self.vocab * self.hidden * 2) // tensor_parallel + norms * 2

    def kv_bytes_per_token(self, tensor_parallel: int = 1) -> int:
        """Bytes of keys and values per token on each GPU, in bf16 whatever the weights' precision (vLLM's default)."""
        self._check(tensor_parallel, "bf16")
        return self.layers * 2 * max(1, self.kv_heads // tensor_parallel) * self.head_dim * 2

    def reserve_bytes(self, tensor_parallel: int = 1, *, max_batched_tokens: int = 8192, max_seqs: int = 256) -> int:
        """Memory per GPU that an engine needs beside weights and KV, as vLLM's profiling run at start finds it.

        1 GB for the CUDA context, libraries and captured CUDA graphs, 0.4 GB for NCCL when sharded (AIConfigurator's system files),
        the largest layer's activations in bf16 (gate, up and their product, and four of hidden size), and float32 logits of all
        sequences twice (sampling).
        """
        self._check(tensor_parallel, "bf16")
        fixed = 1_000_000_000 + (400_000_000 if tensor_parallel > 1 else 0)
        activations = max_batched_tokens * (3 * self.intermediate // tensor_parallel + 4 * self.hidden) * 2
        return fixed + activations + 2 * max_seqs * self.vocab * 4

    def kv_tokens_capacity(
        self,
        gpu: GPU,
        tensor_parallel: int = 1,
        precision: str = "bf16",
        *,
        utilization: float = 0.9,
        max_batched_tokens: int = 8192,
        max_seqs: int = 256,
    ) -> int:
        """KV tokens that fit one engine: what ``utilization`` of the memory leaves after weights and ``reserve_bytes``.

        Raises:
            InputError: the weights, or not even one token beside them, fit.
        """
        weights = self.weight_bytes(tensor_parallel, precision)
        reserve = self.reserve_bytes(tensor_parallel, max_batched_tokens=max_batched_tokens, max_seqs=max_seqs)
        tokens = int((gpu.memory_bytes * utilization - weights - reserve) // self.kv_bytes_per_token(tensor_parallel))
        if tokens > 0:
            return tokens
        raise InputError(
            f"{self.name} in {precision} on {gpu.name}: weights {weights / 2**30:.0f} GiB per GPU + {reserve / 2**30:.1f} GiB for "
            f"activations and CUDA graphs > {gpu.memory_bytes / 2**30:.0f} GiB × {utilization:g}; "
            f"{self._remedy(gpu, tensor_parallel, precision, utilization)}"
        )

    def _remedy(self, gpu: GPU, tensor_parallel: int, precision: str, utilization: float) -> str:
        for shards in (2, 4, 8):
            room = gpu.memory_bytes * utilization - self.reserve_bytes(shards)
            if shards > tensor_parallel and self.weight_bytes(shards, precision) < room:
                return f"use tensor_parallel ≥ {shards}, or a GPU with more memory"
        return "use a smaller model or precision, or a GPU with more memory"

    def _check(self, tensor_parallel: int, precision: str) -> None:
        if precision not in WEIGHT_BYTES:
            raise InputError(f"precision: {precision!r} is not known; use one of {', '.join(WEIGHT_BYTES)}")
        if (
            tensor_parallel < 1
            or self.heads % tensor_parallel
            or max(self.kv_heads, tensor_parallel) % min(self.kv_heads, tensor_parallel)
        ):
            raise InputError(
                f"tensor_parallel: {self.name} cannot be split {tensor_parallel} ways "
                f"({self.heads} heads, {self.kv_heads} KV heads); use 1, 2, 4 or 8"
            )


_PRICE = "price: rounded on-demand list prices of GPU clouds in 2025, set your own"
_VISIBLE = "memory as PyTorch reports it"
GPUS: Mapping[str, GPU] = {
    g.name: g
    for g in (
        GPU("h200", "NVIDIA H200 SXM 141 GB", int(139.8 * 2**30), 4.8e12, 989e12, 1979e12, 450e9, 3.50,
            f"NVIDIA H200 data sheet (2024), dense rates; {_VISIBLE}; {_PRICE}"),
        GPU("h100", "NVIDIA H100 SXM 80 GB", int(79.1 * 2**30), 3.35e12, 989e12, 1979e12, 450e9, 2.50,
            f"NVIDIA H100 data sheet (2023), dense rates; {_VISIBLE}; {_PRICE}"),
        GPU("a100", "NVIDIA A100 SXM 80 GB", int(79.1 * 2**30), 2.039e12, 312e12, None, 300e9, 1.50,
            f"NVIDIA A100 data sheet (2021), dense rates; {_VISIBLE}; {_PRICE}"),
    )
}  # fmt: skip

_LLAMA = "config.json of meta-llama/Llama-3.1-{}; The Llama 3 Herd of Models (arXiv 2407.21783), table 3"
MODELS: Mapping[str, ModelShape] = {
    m.name: m
    for m in (
        ModelShape("llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, _LLAMA.format("8B")),
        ModelShape("llama-3.1-70b", 80, 8192, 28672, 64, 8, 128, 128256, 131072, _LLAMA.format("70B")),
    )
}

_Entry = TypeVar("_Entry")


def gpu(name: str) -> GPU:
    """The GPU of that name.

    Raises:
        InputError: unknown; the line names the nearest known one.
    """
    return _find(GPUS, name, "gpu")


def model(name: str) -> ModelShape:
    """The model shape of that name.

    Raises:
        InputError: unknown; the line names the nearest known one.
    """
    return _find(MODELS, name, "model")


def _find(entries: Mapping[str, _Entry], name: str, kind: str) -> _Entry:
    if name in entries:
        return entries[name]
    nearest = get_close_matches(name.lower(), entries, n=1, cutoff=0.4)
    guess = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(entries)}"
    raise InputError(f"{kind}: {name!r} is not known; {guess}")
