"""From measurements of one and two layers to every deployment of the whole model: latency, memory and KV cache.

    architecture = Architecture.llama(layers=80, hidden=8192, ffn=28672, heads=64, kv_heads=8, vocab=32000)
    runs = Runs.of(architecture, tp=[2, 4, 8], precision="int8", prompt=923, output=100)
    RTX_A6000.latency(architecture, runs).total_s            # seconds, one per deployment
    RTX_A6000_MEMORY.kv_tokens(architecture, runs, 45e9)     # tokens of KV cache, one per deployment
    RTX_A6000_EXTRAPOLATION.latency_s(architecture, runs)    # mean, lo, hi: a 90 % prediction interval

``traces.extrapolation`` calibrates the constants from fingerprints; docs/extrapolation.md says how far they can be trusted.
"""

from policies.extrapolation.allreduce import RING, TENSORRT_LLM, AllReduceRule
from policies.extrapolation.architecture import MAVERIQ_MODELS, WEIGHT_BYTES, Architecture
from policies.extrapolation.hardware import Hardware, Latency
from policies.extrapolation.interval import Extrapolation, Interval, Residuals
from policies.extrapolation.known import RTX_A6000, RTX_A6000_EXTRAPOLATION, RTX_A6000_MEMORY
from policies.extrapolation.memory import MemoryUse
from policies.extrapolation.runs import Runs

__all__ = [
    "MAVERIQ_MODELS",
    "RING",
    "RTX_A6000",
    "RTX_A6000_EXTRAPOLATION",
    "RTX_A6000_MEMORY",
    "TENSORRT_LLM",
    "WEIGHT_BYTES",
    "AllReduceRule",
    "Architecture",
    "Extrapolation",
    "Hardware",
    "Interval",
    "Latency",
    "MemoryUse",
    "Residuals",
    "Runs",
]
