"""Which algorithm sums a message over the tensor-parallel ranks, and how many bytes each rank moves for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Traffic(NamedTuple):
    """Bytes that one rank moves in one all-reduce: over direct reads of its peers' memory, and over a NCCL ring."""

    peer: Floats
    ring: Floats


@dataclass(frozen=True, slots=True)
class AllReduceRule:
    """An engine's choice of algorithm by message size in bytes. ``(ranks, bytes)`` pairs hold for up to so many ranks.

    ``one_shot_below``: smaller messages are read whole from every peer. ``peer_up_to``: larger ones than ``one_shot_below`` are
    reduced in two shots, a scatter and a gather, and beyond ``peer_up_to`` they go through NCCL's ring.
    """

    one_shot_below: tuple[tuple[int, float], ...]
    peer_up_to: tuple[tuple[int, float], ...]

    def traffic(self, ranks: Ints, message_bytes: Floats) -> Traffic:
        """What each rank moves, for arrays of equal shape; nothing where there is one rank."""
        one_shot = message_bytes < _limit(self.one_shot_below, ranks)
        ring = message_bytes > _limit(self.peer_up_to, ranks)
        two_phase = 2.0 * (ranks - 1) / ranks * message_bytes
        peer = np.where(one_shot, (ranks - 1.0) * message_bytes, two_phase)
        return Traffic(np.where(ring, 0.0, peer), np.where(ring, two_phase, 0.0))


def _limit(limits: tuple[tuple[int, float], ...], ranks: Ints) -> Floats:
    """The bytes of the first pair that covers so many ranks; beyond the last pair, none."""
    limit = np.zeros(len(ranks))
    for most, size in reversed(limits):
        limit[ranks <= most] = size
    return limit


TENSORRT_LLM = AllReduceRule(
    one_shot_below=((2, 16e6 + 1), (4, 1e6), (8, 500e3)),
    peer_up_to=((2, 16e6), (8, 8e6)),
)
"""TensorRT-LLM 0.9 (``selectImplementation`` of its all-reduce plug-in, ``max_workspace_size_auto``)."""

RING = AllReduceRule(one_shot_below=(), peer_up_to=())
"""NCCL for every message: engines whose own kernels need NVLink (vLLM on more than two GPUs over PCIe)."""
