"""Reads operator tables in the layout and format of the ``systems`` folder of NVIDIA AIConfigurator (aiconfigurator-core on PyPI).

``data/<gpu>_sxm/<gemm|attention|comm>/vllm/<version>/*.parquet``: one row per measured call, ``latency`` in ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

_DTYPES = {"bf16": "bfloat16", "fp8": "fp8"}


@dataclass(frozen=True)
class AttentionRows:
    """Measured attention calls of one layer: batch size, new tokens and KV context per request, and seconds."""

    batch: Floats
    tokens: Floats
    context: Floats
    seconds: Floats


@dataclass(frozen=True)
class Operators:
    """The operator tables of one GPU and one vLLM version."""

    gpu: str
    engine: str
    _gemm: Mapping[str, pd.DataFrame]
    _prefill: pd.DataFrame
    _decode: pd.DataFrame
    _all_reduce: pd.DataFrame

    def gemm(self, n: int, k: int, precision: str) -> tuple[Floats, Floats]:
        """``(m, seconds)`` of the product of (m × k) and (k × n), at the table's m.

        Where the table lacks (n, k), bilinear in n and k between its neighbours: time is affine in either, whether weights are
        streamed (small m) or multiplied (large m). Beyond the table's largest n or k it grows in proportion.
        """
        cells = self._gemm[precision]
        ns, ks = (cells.columns.unique(level).sort_values().to_numpy() for level in ("n", "k"))
        parts = [wn * wk * cells[int(i), int(j)] for i, wn in _neighbours(ns, n) for j, wk in _neighbours(ks, k)]
        return cells.index.to_numpy(float), np.sum(parts, axis=0) * 1e-3

    def gemm_interpolation_error(self, n: int, k: int, precision: str) -> Floats:
        """Relative error of interpolating in n for a shape that the table holds, from the shapes around it; empty otherwise."""
        cells = self._gemm[precision]
        if (n, k) not in cells:
            return np.empty(0)
        ns = cells.xs(k, axis=1, level="k").columns.to_numpy()
        guess = np.sum([weight * cells[int(i), k] for i, weight in _neighbours(ns[ns != n], n)], axis=0)
        return np.asarray(guess / cells[n, k].to_numpy() - 1)

    def prefill(self, heads: int, kv_heads: int, head_dim: int) -> AttentionRows:
        """Causal attention of whole prompts (no earlier context), bf16 keys and values."""
        rows = _attention(self._prefill, heads, kv_heads, head_dim)
        return AttentionRows(_column(rows, "batch_size"), _column(rows, "isl"), np.zeros(len(rows)), _seconds(rows))

    def decode(self, heads: int, kv_heads: int, head_dim: int) -> AttentionRows:
        """One new token per request; ``context`` is the KV tokens that it reads, itself included."""
        rows = _attention(self._decode, heads, kv_heads, head_dim)
        context = _column(rows, "step") + _column(rows, "isl")
        return AttentionRows(_column(rows, "batch_size"), _column(rows, "isl"), context, _seconds(rows))

    def all_reduce(self, gpus: int, *, graph: bool) -> tuple[Floats, Floats]:
        """``(elements, seconds)`` of an all-reduce of bf16 elements over ``gpus``, inside a CUDA graph or launched eagerly.

        The table's ``message_size`` counts elements: as bytes, 8 GPUs would reach half of NVLink's bandwidth.
        """
        source = "vLLM_custom_graph" if graph else "vLLM_custom_eager"
        table = self._all_reduce
        rows = table[(table["num_gpus"] == gpus) & (table["kernel_source"] == source)].sort_values("message_size")
        return _column(rows, "message_size"), _seconds(rows)


def read_operators(root: Path, gpu: str) -> Operators:
    """The newest vLLM tables of one GPU under ``root``.

    Raises:
        InputError: a folder or table is missing, a column lacks, or a latency is not a positive number.
    """
    tables: dict[str, pd.DataFrame] = {}
    versions = set()
    for kind, file, columns in (
        ("gemm", "gemm_perf", ("gemm_dtype", "m", "n", "k")),
        (
            "attention",
            "context_attention_perf",
            ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "kv_cache_dtype"),
        ),
        ("attention", "generation_attention_perf", ("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim")),
        ("comm", "custom_allreduce_perf", ("num_gpus", "message_size", "kernel_source")),
    ):
        folder = root / "data" / f"{gpu}_sxm" / kind / "vllm"
        found = sorted(
            folder.glob(f"*/{file}.parquet"), key=lambda p: [int(v) if v.isdigit() else 0 for v in p.parent.name.split(".")]
        )
        if not found:
            raise InputError(f"{folder}: no */{file}.parquet; give the folder that holds AIConfigurator's data/{gpu}_sxm tables")
        tables[file] = _read(found[-1], (*columns, "latency"))
        versions.add(found[-1].parent.name)
    gemm, *others = tables.values()
    cells = {
        precision: rows.pivot_table(index="m", columns=["n", "k"], values="latency")
        for precision, dtype in _DTYPES.items()
        if len(rows := gemm[gemm["gemm_dtype"] == dtype])
    }
    return Operators(gpu, f"vllm {'/'.join(sorted(versions))}", cells, *others)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_parquet(path)
    if missing := [c for c in columns if c not in table]:
        raise InputError(f"{path}: column {missing[0]} is missing; expected AIConfigurator's columns {', '.join(columns)}")
    bad = ~(np.isfinite(table["latency"]) & (table["latency"] > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{path}: row {row}: latency is {table['latency'].iloc[row]}; every call took a positive number of ms")
    return table


def _attention(table: pd.DataFrame, heads: int, kv_heads: int, head_dim: int) -> pd.DataFrame:
    rows = table[(table["num_heads"] == heads) & (table["num_key_value_heads"] == kv_heads) & (table["head_dim"] == head_dim)]
    rows = rows[rows["kv_cache_dtype"] == "bfloat16"]
    return rows[rows["window_size"] == 0] if "window_size" in rows else rows


def _neighbours(grid: NDArray[Any], value: int) -> list[tuple[float, float]]:
    """The grid points around a value with their linear weights."""
    if value >= grid[-1]:
        return [(grid[-1], value / grid[-1])]
    i = int(np.searchsorted(grid, value, side="right"))
    low, high = grid[i - 1], grid[i]
    weight = (value - low) / (high - low)
    return [(low, 1 - weight), (high, weight)] if weight else [(low, 1.0)]


def _column(rows: pd.DataFrame, name: str) -> Floats:
    return rows[name].to_numpy(float)


def _seconds(rows: pd.DataFrame) -> Floats:
    return _column(rows, "latency") * 1e-3
