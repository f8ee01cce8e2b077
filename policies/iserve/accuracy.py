"""What quantisation costs in answers: accuracy relative to 16 bits, published figures only.

A precision that nobody has measured for a model has no figure, and does not pass a quality floor; users give their own.
All figures are averages over short tasks. On long contexts 4-bit weights lose far more (arXiv 2505.20276: 8 bits 0.8 % on average,
4 bits up to 59 %): measure before you rely on them there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Published(NamedTuple):
    """``recovery``: score / score at 16 bits. ``task``: of what. ``source``: where it was published."""

    recovery: float
    task: str
    source: str


_OPEN_LLM = "Open LLM Leaderboard v1, mean of six tasks"

PUBLISHED: Mapping[tuple[str, str], Published] = MappingProxyType(
    {
        ("llama-3.1-8b", "fp8"): Published(73.44 / 73.79, _OPEN_LLM, "model card neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8"),
        ("llama-3.1-8b", "int8"): Published(62.71 / 63.03, _OPEN_LLM, "model card neuralmagic/Meta-Llama-3.1-8B-quantized.w8a8"),
        ("llama-3.1-70b", "fp8"): Published(84.29 / 84.40, _OPEN_LLM, "model card RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8"),
        ("llama-3.1-70b", "int4"): Published(
            78.54 / 78.67, _OPEN_LLM, "model card neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w4a16"
        ),
        ("mixtral-8x7b", "fp8"): Published(72.99 / 73.48, _OPEN_LLM, "model card neuralmagic/Mixtral-8x7B-Instruct-v0.1-FP8"),
        ("mixtral-8x22b", "fp8"): Published(78.47 / 79.15, _OPEN_LLM, "model card neuralmagic/Mixtral-8x22B-Instruct-v0.1-FP8"),
    }
)
"""By (model, precision of the weights)."""

FP8_KV = Published(79.00 / 79.16, _OPEN_LLM, "model card neuralmagic/Meta-Llama-3-70B-Instruct-FP8-KV, against FP8 weights alone")
"""What an 8-bit KV cache costs on top."""

FULL = ("bf16", "fp16")


def relative_accuracy(
    model: str, precision: str, kv_precision: str = "bf16", *, own: Mapping[tuple[str, str], float] | None = None
) -> float | None:
    """Accuracy relative to 16 bits, or ``None`` where it is unknown. ``own``: figures that go before the published ones."""
    given = own or {}
    weights: float | None
    if (model, precision) in given:
        weights = given[model, precision]
    elif precision in FULL:
        weights = 1.0
    else:
        found = PUBLISHED.get((model, precision))
        weights = None if found is None else found.recovery
    if weights is None or kv_precision in FULL:
        return weights
    return weights * FP8_KV.recovery if kv_precision == "fp8" else None
