"""What an operator source has to tell, whatever it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traces.hardware import Experts, ModelShape

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attention:
    """One layer's attention on one GPU. ``window``: tokens attended to at most, 0 = all. ``kv_precision``: of keys and values."""

    heads: int
    kv_heads: int
    head_dim: int
    kv_precision: str = "bf16"
    window: int = 0

    @classmethod
    def of(cls, model: ModelShape, tensor_parallel: int, kv_precision: str, *, window: int = 0) -> Attention:
        """The share of one of ``tensor_parallel`` GPUs."""
        return cls(model.heads // tensor_parallel, max(1, model.kv_heads // tensor_parallel), model.head_dim, kv_precision, window)


@dataclass(frozen=True)
class AttentionRows:
    """Attention calls of one layer: requests, new tokens and KV context (those included) per request, and seconds."""

    batch: Floats
    tokens: Floats
    context: Floats
    seconds: Floats

    def within(self, context: int) -> AttentionRows:
        """The rows up to the first measured context that is no less: what no request of a model reaches shall not bend its fit."""
        use = self.context <= self.context[self.context >= context].min(initial=np.inf)
        return AttentionRows(self.batch[use], self.tokens[use], self.context[use], self.seconds[use])


class Operators(Protocol):
    """Operator times in seconds on one GPU of a deployment.

    ``gpu``, ``engine``: where they were measured. ``source``: in words. ``hashes``: of the files behind them. Every method raises
    ``InputError`` where the source does not cover what is asked.
    """

    @property
    def gpu(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def hashes(self) -> Mapping[str, str]: ...

    def gemm(self, n: int, k: int, precision: str) -> tuple[Floats, Floats]:
        """``(m, seconds)`` of the product of (m × k) and (k × n), m increasing from 1."""

    def gemm_interpolation_error(self, n: int, k: int, precision: str) -> Floats:
        """Relative errors when the rows of this very (n, k) are predicted from the others; empty where there are none."""

    def prefill(self, attention: Attention) -> AttentionRows:
        """Causal attention of whole prompts."""

    def decode(self, attention: Attention) -> AttentionRows:
        """One new token per request."""

    def latent(self, heads: int, precision: str, kv_precision: str, *, prefill: bool) -> AttentionRows:
        """The whole attention module of a layer with latent attention, projections included."""

    def experts(
        self, hidden: int, experts: Experts, precision: str, tensor_parallel: int, expert_parallel: int
    ) -> tuple[Floats, Floats]:
        """``(tokens, seconds)`` of one layer's routed experts, sliced ``tensor_parallel`` or spread ``expert_parallel`` ways."""

    def all_reduce(self, gpus: int, *, graph: bool) -> tuple[Floats, Floats]:
        """``(elements, seconds)`` of an all-reduce of bf16 elements, inside a CUDA graph or launched eagerly."""
