"""The two deployments that AdaServe was evaluated on, as its artifact sets them up (zikun-li/AdaServe-Artifact-Evaluation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from policies.adaserve.shape import Limits
from policies.curve import Curve
from policies.latency import Floats, StepShape


class TokenLatency:
    """A ``LatencyModel`` of step time by tokens in the step alone, prompts', decodes' and drafts' alike."""

    __slots__ = ("curve",)

    def __init__(self, curve: Curve) -> None:
        self.curve = curve

    def seconds(self, step: StepShape) -> float:
        return self.curve.at(step.prefill_tokens + step.decode_seqs + step.verify_tokens)

    def seconds_many(
        self,
        prefill_tokens: Floats,
        prefill_attention: Floats,
        prefill_seqs: Floats,
        decode_seqs: Floats,
        decode_context: Floats,
        verify_tokens: Floats,
    ) -> Floats:
        return self.curve.many(np.asarray(prefill_tokens + decode_seqs + verify_tokens, np.float64))


@dataclass(frozen=True, slots=True)
class Setting:
    """One deployment. ``budget``: B. ``tpot_s``: per output token without load, which the tightest objective is 1.2 times.
    ``verify``: step time, from scripts for A100-40G, where the paper had A100-80G; its table starts at 128 tokens, below which time
    falls in proportion to ``tpot_s`` at least.
    """

    target: str
    draft: str
    tensor_parallel: int
    max_seqs: int
    budget: int
    limits: Limits
    tpot_s: float
    verify: TokenLatency


def _verify(tpot_ms: float, *from_128_ms: float) -> TokenLatency:
    floor = 128 * tpot_ms / from_128_ms[0]
    tokens = (floor, *(128.0 * (row + 1) for row in range(len(from_128_ms))))
    return TokenLatency(Curve(tokens, tuple(ms / 1e3 for ms in (tpot_ms, *from_128_ms))))


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "llama-3.1-70b": Setting(
            target="llama-3.1-70b",
            draft="llama-3.2-1b",
            tensor_parallel=4,
            max_seqs=64,
            budget=512,
            limits=Limits(depth_min=4, depth_max=8, width_max=3, draft_budget=96),
            tpot_s=0.030,
            verify=_verify(30, 55, 85, 105, 125, 145, 165, 185, 205),
        ),
        "qwen2.5-32b": Setting(
            target="qwen2.5-32b",
            draft="qwen2.5-0.5b",
            tensor_parallel=2,
            max_seqs=80,
            budget=256,
            limits=Limits(depth_min=3, depth_max=5, width_max=3, draft_budget=80),
            tpot_s=0.028,
            verify=_verify(28, 48, 66, 84, 104, 124, 144, 164, 188),
        ),
    }
)
