"""Baseline speculators: chains of a fixed length, verified in full."""

from __future__ import annotations

from policies.decisions import Drafts, DraftShape, Selection
from policies.types import DraftView

_ALL = Selection(reason="all of every chain")


class VLLM:
    """Drafts the engine's own ``num_speculative_tokens`` for every decoding request and verifies all of them: vLLM V1's default.

    Source: vLLM V1, ``Scheduler.schedule`` (vllm/v1/core/sched/scheduler.py).
    """

    __slots__ = ()

    def shape(self, engine: DraftView) -> DraftShape:
        return DraftShape(reason="the engine's own number")

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        return _ALL


class FixedK:
    """Drafts ``k`` tokens for every decoding request and verifies all of them, whatever the load: speculation as first proposed.

    Args:
        k: draft tokens per request and step, no more than the engine's ``num_speculative_tokens``.

    Source: Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", ICML '23, arXiv 2211.17192.
    """

    __slots__ = ("_shape",)

    def __init__(self, *, k: int = 4) -> None:
        if k < 1:
            raise ValueError(f"k is {k}; draft at least 1 token, or choose the speculator `none`")
        self._shape = DraftShape(k, reason="a fixed number")

    def shape(self, engine: DraftView) -> DraftShape:
        return self._shape

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        return _ALL


class Off:
    """Drafts nothing, on engines that could."""

    __slots__ = ()

    def shape(self, engine: DraftView) -> DraftShape:
        return DraftShape(0, reason="no speculation")

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        return _ALL
