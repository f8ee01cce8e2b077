"""Operator times from data sheets, for GPUs, precisions and splits that nobody has measured.

Each operator is bound by arithmetic or by memory traffic, whichever takes longer, at a fitted share of the data sheet's rate, on
top of a fitted launch time. The shares (``efficiency.json``) are fitted on measured tables by ``traces.assembly.efficiency``, which
also says how far a roofline of the other GPUs is from each GPU's own tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from traces.errors import InputError
from traces.hardware import GPU, GPUS, KV_BYTES, WEIGHT_BYTES, Experts
from traces.operators.kinds import Attention, AttentionRows, Floats

FILE = Path(__file__).with_name("efficiency.json")
SHARPNESS = 4.0
"""Of the transition between the two bounds: the p of their p-norm."""
_NVLINK = 200e9
"""No PCIe link of a GPU is as fast in one direction."""
_M = np.array(sorted({*range(1, 17), *range(24, 513, 8), *(2**i for i in range(10, 16)), *(3 * 2**i for i in range(8, 14))}), float)
_BATCH = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048], float)
_CONTEXT = np.array([16, 64, 256, 1024, 4096, 16384, 65536, 131072], float)


@dataclass(frozen=True)
class Efficiency:
    """Shares of the data sheet's rates, and seconds. ``compute``, ``memory``: shares. ``launch_s``: of a call. ``each_s``: per
    request and KV head (decode), per token and head (prefill), at least (all-reduce). ``source``: what they were fitted on.
    """

    compute: Mapping[str, float]
    memory: Mapping[str, float]
    launch_s: Mapping[str, float]
    each_s: Mapping[str, float]
    source: str


@cache
def efficiency() -> Efficiency:
    """The committed shares."""
    return Efficiency(**json.loads(FILE.read_text(encoding="utf-8"))["all"])


@cache
def step_error(chip: GPU) -> tuple[float, float, int]:
    """Median and 90th percentile of the error of whole steps on GPUs held out, the worst of those with the same kind of link to
    their peers, and the number of steps."""
    by_gpu = json.loads(FILE.read_text(encoding="utf-8"))["leave_one_gpu_out"]["steps"]
    kind = all_reduce_kind(chip, graph=True)
    alike = [found for name, found in by_gpu.items() if all_reduce_kind(GPUS[name], graph=True) == kind]
    return max(m for m, _, _ in alike), max(p for _, p, _ in alike), sum(n for _, _, n in alike)


def all_reduce_kind(chip: GPU, *, graph: bool) -> str:
    """Which all-reduce a GPU has: over NVLink or PCIe, inside a CUDA graph or launched eagerly."""
    return ("all_reduce" if chip.nvlink_bytes_s >= _NVLINK else "all_reduce_pcie") + ("" if graph else "_eager")


@dataclass(frozen=True)
class Roofline:
    """The ``Operators`` of a GPU by its data sheet."""

    chip: GPU
    shares: Efficiency
    engine: str = "vllm"
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpu(self) -> str:
        return self.chip.name

    @property
    def source(self) -> str:
        return f"Roofline of {self.chip.title} ({self.chip.source}) at shares of its peaks fitted on {self.shares.source}"

    def gemm(self, n: int, k: int, precision: str) -> tuple[Floats, Floats]:
        traffic = n * k * WEIGHT_BYTES[precision] + 2 * _M * (n + k)
        return _M, self._bound("gemm", 2 * _M * n * k, self._flops(precision), traffic)

    def gemm_interpolation_error(self, n: int, k: int, precision: str) -> Floats:
        """None: there are no rows."""
        return np.empty(0)

    def prefill(self, attention: Attention) -> AttentionRows:
        batch, tokens = (grid.ravel() for grid in np.meshgrid(_BATCH[:9], 2.0 ** np.arange(4, 16)))
        span = np.minimum(tokens, attention.window or np.inf)
        flops = 4 * attention.heads * attention.head_dim * batch * (tokens * span - span**2 / 2)
        seconds = flops / (self.chip.bf16_flops * self.shares.compute["prefill"])
        seconds += self.shares.each_s["prefill"] * batch * tokens * attention.heads
        return AttentionRows(batch, tokens, tokens, self.shares.launch_s["prefill"] + seconds)

    def decode(self, attention: Attention) -> AttentionRows:
        batch, context = (grid.ravel() for grid in np.meshgrid(_BATCH, _CONTEXT))
        read = batch * np.minimum(context, attention.window or np.inf) * attention.kv_heads * 2 * attention.head_dim
        seconds = read * KV_BYTES[attention.kv_precision] / (self.chip.hbm_bytes_s * self.shares.memory["decode"])
        seconds += self.shares.each_s["decode"] * batch * attention.kv_heads
        keep = batch * context <= 2**20
        rows = AttentionRows(batch, np.ones_like(batch), context, self.shares.launch_s["decode"] + seconds)
        return AttentionRows(rows.batch[keep], rows.tokens[keep], rows.context[keep], rows.seconds[keep])

    def latent(self, heads: int, precision: str, kv_precision: str, *, prefill: bool) -> AttentionRows:
        raise InputError("latent attention: has no roofline; use a deployment of DeepSeek-V3 or Kimi K2 that the library has")

    def experts(
        self, hidden: int, experts: Experts, precision: str, tensor_parallel: int, expert_parallel: int
    ) -> tuple[Floats, Floats]:
        """Each token picks ``top_k`` experts at random; every picked expert's weights are read once."""
        picked = experts.count * (1 - (1 - 1 / experts.count) ** (_M * experts.top_k))
        weights = 3 * hidden * experts.intermediate / tensor_parallel / expert_parallel
        flops = 2 * weights * _M * experts.top_k
        traffic = picked * weights * WEIGHT_BYTES[precision] + 4 * _M * experts.top_k * hidden / expert_parallel
        return _M, self._bound("experts", flops, self._flops(precision), traffic)

    def all_reduce(self, gpus: int, *, graph: bool) -> tuple[Floats, Floats]:
        elements = np.exp2(np.arange(7, 30))
        kind = all_reduce_kind(self.chip, graph=graph)
        sent = 2 * (gpus - 1) / gpus * elements * 2 / (self.chip.nvlink_bytes_s * self.shares.memory[kind])
        return elements, np.asarray(np.maximum(self.shares.launch_s[kind] + sent, self.shares.each_s[kind]))

    def _bound(self, kind: str, flops: Floats, peak: float, traffic: Floats) -> Floats:
        arithmetic = flops / (peak * self.shares.compute[kind])
        memory = traffic / (self.chip.hbm_bytes_s * self.shares.memory[kind])
        return np.asarray(self.shares.launch_s[kind] + (arithmetic**SHARPNESS + memory**SHARPNESS) ** (1 / SHARPNESS))

    def _flops(self, precision: str) -> float:
        """Peak of the tensor cores that multiply such weights; weight-only formats and missing cores fall back to bf16."""
        if precision in ("fp8", "fp8_block"):
            return self.chip.fp8_flops or self.chip.bf16_flops
        if precision == "int8":
            return self.chip.int8_flops or self.chip.bf16_flops
        return self.chip.bf16_flops
