"""Device memory of a run, and the KV cache that fits beside the weights.

    total = weights × bytes of layers, head and embedding (the embedding is copied to every rank)
            + kv × bytes of the KV cache + GPUs × context
            + GPUs × (tp − 1) × rank + tp × (pp − 1) × stage

A GPU holds buffers for every rank it sums with, so their total grows with the square of the tensor parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.extrapolation.architecture import Architecture
from policies.extrapolation.runs import Runs
from policies.extrapolation.work import ACTIVATION_BYTES, kv_bytes_per_token

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """``weights``, ``kv``: bytes allocated per byte needed. ``context``: bytes per GPU of the driver, the engine and its
    workspace. ``rank``: bytes per GPU and peer rank. ``stage``: bytes per rank and boundary between stages."""

    weights: float
    kv: float
    context: float
    rank: float
    stage: float

    @classmethod
    def from_constants(cls, constants: Mapping[str, float]) -> MemoryUse:
        """The use with the constants of ``memory_columns`` by name; one that is not given is 0."""
        return cls(**{name: constants.get(name, 0.0) for name in cls.__dataclass_fields__})

    def total_bytes(self, architecture: Architecture, runs: Runs) -> Floats:
        """Bytes over all GPUs after a run, shape (n,)."""
        table = memory_columns(architecture, runs)
        total: Floats = np.sum([column * getattr(self, name) for name, column in table.items()], axis=0)
        return total

    def kv_tokens(self, architecture: Architecture, runs: Runs, gpu_bytes: float, block_tokens: int = 16) -> Ints:
        """Tokens of KV cache, in whole blocks, that fit on the fullest GPU of each deployment; 0 where not even the weights fit.

        ``gpu_bytes``: what the engine may use of each GPU. Lengths and batch of the runs do not matter.
        """
        share = runs.largest_stage / runs.layers
        ends = architecture.vocab * architecture.hidden * ACTIVATION_BYTES
        embedding_or_head = np.where(runs.pp > 1, ends, ends * (1 + 1 / runs.tp))
        layers = runs.largest_stage * architecture.layer_weights * runs.weight_bytes / runs.tp
        fixed = self.context + (runs.tp - 1) * self.rank + (runs.pp > 1) * self.stage
        free = gpu_bytes - self.weights * (layers + embedding_or_head) - fixed
        per_block = self.kv * kv_bytes_per_token(architecture, runs) * share * block_tokens
        return np.array(np.maximum(0, free // per_block) * block_tokens, np.int64)


def memory_columns(architecture: Architecture, runs: Runs) -> dict[str, Floats]:
    """What each constant of ``MemoryUse`` is multiplied by, each of shape (n,)."""
    gpus = runs.tp * runs.pp
    ends = architecture.vocab * architecture.hidden * ACTIVATION_BYTES
    tokens = runs.batch * (runs.prompt + runs.output)
    return {
        "weights": runs.layers * architecture.layer_weights * runs.weight_bytes + ends * (1.0 + runs.tp),
        "kv": tokens * kv_bytes_per_token(architecture, runs) * runs.tp,
        "context": gpus.astype(float),
        "rank": gpus * (runs.tp - 1.0),
        "stage": runs.tp * (runs.pp - 1.0),
    }
