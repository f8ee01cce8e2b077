"""What a model's public configuration says about the work in one pass through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

WEIGHT_BYTES: Mapping[str, float] = MappingProxyType(
    {"fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5, "int4-g128": 0.5 + 4 / 128}
)
"""Bytes per weight of a transformer layer. ``int4-g128``: GPTQ or AWQ with a 16-bit scale and zero point per 128 weights."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A dense decoder-only transformer.

    ``layer_weights``: parameters of one layer, all of which every token reads. ``all_reduces``: sums over the tensor-parallel
    ranks per layer and pass, 2 where attention and MLP follow each other (Llama), 1 where they run in parallel (GPT-J, Falcon).
    """

    layers: int
    hidden: int
    layer_weights: int
    vocab: int
    kv_heads: int
    head_dim: int
    all_reduces: int = 2

    @classmethod
    def llama(cls, *, layers: int, hidden: int, ffn: int, heads: int, kv_heads: int, vocab: int) -> Architecture:
        """Query, key, value and output projections, and a gated MLP of three matrices."""
        head_dim = hidden // heads
        weights = 2 * hidden * hidden + 2 * hidden * kv_heads * head_dim + 3 * hidden * ffn
        return cls(layers, hidden, weights, vocab, kv_heads, head_dim)

    @classmethod
    def parallel(cls, *, layers: int, hidden: int, heads: int, kv_heads: int, vocab: int) -> Architecture:
        """Attention and a two-matrix MLP (four times as wide) side by side on the same input: GPT-J, Falcon."""
        head_dim = hidden // heads
        weights = 2 * hidden * hidden + 2 * hidden * kv_heads * head_dim + 8 * hidden * hidden
        return cls(layers, hidden, weights, vocab, kv_heads, head_dim, all_reduces=1)


MAVERIQ_MODELS: Mapping[str, Architecture] = MappingProxyType(
    {
        "falcon-7b": Architecture.parallel(layers=32, hidden=4544, heads=71, kv_heads=1, vocab=65024),
        "falcon-40b": Architecture.parallel(layers=60, hidden=8192, heads=128, kv_heads=8, vocab=65024),
        "gptj-6b": Architecture.parallel(layers=28, hidden=4096, heads=16, kv_heads=16, vocab=50400),
        "llama-2-7b": Architecture.llama(layers=32, hidden=4096, ffn=11008, heads=32, kv_heads=32, vocab=32000),
        "llama-2-13b": Architecture.llama(layers=40, hidden=5120, ffn=13824, heads=40, kv_heads=40, vocab=32000),
        "llama-2-70b": Architecture.llama(layers=80, hidden=8192, ffn=28672, heads=64, kv_heads=8, vocab=32000),
    }
)
"""The six models of MaverIQ (arXiv 2501.13111), from their public configurations."""
