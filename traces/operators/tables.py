"""Reads operator tables in the layout and format of the ``systems`` folder of NVIDIA AIConfigurator (aiconfigurator-core on PyPI).

``data/<gpu>_sxm/<gemm|attention|comm|moe|mla>/vllm/<version>/*.parquet``: one row per measured call, ``latency`` in ms. A user's
own install of that package is read as well as a copy of the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.hardware import GPUS, Experts
from traces.operators.kinds import Attention, AttentionRows, Floats

if TYPE_CHECKING:
    import pandas as pd

_GEMM = {"bf16": "bfloat16", "fp8": "fp8", "fp8_block": "fp8_block"}
_EXPERTS = {"bf16": "bfloat16", "fp8": "fp8", "fp8_block": "fp8_block", "int4": "int4_wo", "mxfp4": "w4a16_mxfp4"}
_KV = {"bf16": "bfloat16", "fp8": "fp8"}
ROUTING = "power_law_1.2"
"""How tokens spread over experts: the table's uneven one (shares by a power law of exponent 1.2)."""
_TABLES: Mapping[str, tuple[str, Sequence[str]]] = {
    "gemm_perf": ("gemm", ("gemm_dtype", "m", "n", "k")),
    "context_attention_perf": (
        "attention",
        ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "kv_cache_dtype"),
    ),
    "generation_attention_perf": (
        "attention",
        ("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim", "kv_cache_dtype"),
    ),
    "custom_allreduce_perf": ("comm", ("num_gpus", "message_size", "kernel_source")),
    "moe_perf": (
        "moe",
        (
            "moe_dtype",
            "num_tokens",
            "hidden_size",
            "inter_size",
            "topk",
            "num_experts",
            "moe_tp_size",
            "moe_ep_size",
            "distribution",
        ),
    ),
    "mla_context_module_perf": ("mla", ("num_heads", "batch_size", "isl", "kv_cache_dtype", "gemm_type")),
    "mla_generation_module_perf": ("mla", ("num_heads", "batch_size", "step", "kv_cache_dtype", "gemm_type")),
}
_HOST_BOUND = 2.5
"""Times of launch-bound products scatter up to this far above the smallest."""
SYSTEMS = {
    "b200": "b200_sxm",
    "h200": "h200_sxm",
    "h100": "h100_sxm",
    "a100": "a100_sxm",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
}
"""AIConfigurator's names of GPUs."""
REQUIRED = ("gemm_perf", "context_attention_perf", "generation_attention_perf", "custom_allreduce_perf")
_SAME_VERSION = ("gemm_perf", "context_attention_perf", "generation_attention_perf")
_MOST_KV_HEADS = 8
_SHORTEST_MS = 3e-4, 0.9
_FASTEST = 1.25
"""No product runs faster than the data sheet's peak by more than this: boost clocks, and rounding of short calls."""


@dataclass
class Tables:
    """The operator tables of one GPU and one vLLM version."""

    gpu: str
    engine: str
    root: Path
    hashes: Mapping[str, str]
    _files: Mapping[str, Path]
    _read: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        older = {path.parent.name for path in self._files.values()} - {self.engine.removeprefix("vllm ")}
        others = f", some of vllm {'/'.join(sorted(older))}" if older else ""
        return f"Operator tables of NVIDIA AIConfigurator (Apache-2.0), {SYSTEMS[self.gpu]}, {self.engine}{others}"

    def gemm(self, n: int, k: int, precision: str) -> tuple[Floats, Floats]:
        """See ``Operators``. Where the table lacks (n, k), bilinear in n and k between its neighbours: time is affine in either,
        whether weights are streamed (small m) or multiplied (large m). Beyond the largest n or k it grows in proportion.
        """
        cells = self._cells(precision)
        m, seconds = _between(cells, n, k)
        if precision == "fp8_block":
            seconds = self._without_launches(m, seconds, n, k)
        return m, seconds

    def gemm_interpolation_error(self, n: int, k: int, precision: str) -> Floats:
        """See ``Operators``; interpolated in n alone."""
        cells = self._cells(precision)
        if (n, k) not in cells:
            return np.empty(0)
        ns = cells.xs(k, axis=1, level="k").columns.to_numpy()
        guess = np.sum([weight * cells[int(i), k] for i, weight in _neighbours(ns[ns != n], n)], axis=0)
        errors: Floats = np.asarray(guess / cells[n, k].to_numpy() - 1, float)
        return errors[np.isfinite(errors)]

    def prefill(self, attention: Attention) -> AttentionRows:
        """See ``Operators``. Numbers of heads that the table lacks are scaled from the nearest that it has."""
        rows, share = self._nearest("context_attention_perf", attention)
        tokens, seconds = _column(rows, "isl"), _seconds(rows)
        floor = float(seconds.min())
        return AttentionRows(_column(rows, "batch_size"), tokens, tokens, floor + (seconds - floor) * share)

    def decode(self, attention: Attention) -> AttentionRows:
        """See ``Operators``. Query heads that the table lacks are taken from the nearest number: decoding reads keys and values.

        KV heads beyond the table's are requests in disguise: 32 KV heads of one request read what 8 of four requests read.
        """
        fold = 1
        if attention.kv_heads > _MOST_KV_HEADS:
            fold = next(
                f
                for f in range(2, attention.kv_heads + 1)
                if attention.kv_heads / f <= _MOST_KV_HEADS and not attention.kv_heads % f
            )
            attention = replace(attention, heads=attention.heads // fold, kv_heads=attention.kv_heads // fold)
        rows, _ = self._nearest("generation_attention_perf", attention)
        rows = rows[rows["batch_size"] >= fold]
        context = _column(rows, "step") + _column(rows, "isl")
        return AttentionRows(_column(rows, "batch_size") / fold, _column(rows, "isl"), context, _seconds(rows))

    def latent(self, heads: int, precision: str, kv_precision: str, *, prefill: bool) -> AttentionRows:
        table = self._table("mla_context_module_perf" if prefill else "mla_generation_module_perf")
        rows = table[
            (table["num_heads"] == heads)
            & (table["kv_cache_dtype"] == _KV[kv_precision])
            & (table["gemm_type"] == _GEMM.get(precision, "bfloat16"))
        ]
        self._need(rows, f"latent attention with {heads} heads in {precision}, {kv_precision} KV")
        batch, tokens = _column(rows, "batch_size"), _column(rows, "isl") if prefill else np.ones(len(rows))
        return AttentionRows(batch, tokens, tokens if prefill else _column(rows, "step") + 1, _seconds(rows))

    def experts(
        self, hidden: int, experts: Experts, precision: str, tensor_parallel: int, expert_parallel: int
    ) -> tuple[Floats, Floats]:
        table = self._table("moe_perf")
        rows = table[
            (table["moe_dtype"] == _EXPERTS.get(precision))
            & (table["hidden_size"] == hidden)
            & (table["inter_size"] == experts.intermediate)
            & (table["topk"] == experts.top_k)
            & (table["num_experts"] == experts.count)
            & (table["moe_tp_size"] == tensor_parallel)
            & (table["moe_ep_size"] == expert_parallel)
            & (table["distribution"] == ROUTING)
        ]
        what = f"{experts.count} experts of {experts.intermediate}, top {experts.top_k}, hidden {hidden} in {precision}"
        self._need(rows, f"{what}, {tensor_parallel} slices, spread {expert_parallel} ways")
        by_tokens = rows.groupby("num_tokens")["latency"].median().sort_index()
        return by_tokens.index.to_numpy(float), by_tokens.to_numpy(float) * 1e-3

    def all_reduce(self, gpus: int, *, graph: bool) -> tuple[Floats, Floats]:
        """See ``Operators``. The table's ``message_size`` counts elements: as bytes, 8 GPUs would reach half NVLink's bandwidth."""
        source = "vLLM_custom_graph" if graph else "vLLM_custom_eager"
        table = self._table("custom_allreduce_perf")
        rows = table[(table["num_gpus"] == gpus) & (table["kernel_source"] == source)].sort_values("message_size")
        self._need(rows, f"an all-reduce over {gpus} GPUs, which tensor parallelism {gpus} needs")
        return _column(rows, "message_size"), _seconds(rows)

    def _without_launches(self, m: Floats, seconds: Floats, n: int, k: int) -> Floats:
        """Block-scaled FP8 products, where the table shows the host and not the GPU replaced by what the GPU takes.

        The smallest product takes as long as one a thousand times larger: the host's launches, which a CUDA graph does away with.
        Up to ``_HOST_BOUND`` times that, the time is that of per-token FP8 times the ratio of both in products beyond, which the
        GPU bounds.
        """
        if "block ratio" not in self._read:
            block, token = self._cells("fp8_block"), self._cells("fp8")
            launches = block.min(axis=1)
            ratio = (block / token.reindex_like(block)).where(block.gt(_HOST_BOUND * launches, axis=0))
            self._read["block ratio"] = launches * 1e-3, float(np.nanmedian(ratio.to_numpy()))
        launches, ratio = self._read["block ratio"]
        floor = np.interp(m, launches.index.to_numpy(float), launches.to_numpy(float))
        others, other = _between(self._cells("fp8"), n, k)
        return np.where(seconds > _HOST_BOUND * floor, seconds, np.minimum(seconds, ratio * np.interp(m, others, other)))

    def _nearest(self, name: str, attention: Attention) -> tuple[pd.DataFrame, float]:
        """Rows of this attention, and the share of its query heads in theirs."""
        table = self._table(name)
        rows = table[(table["head_dim"] == attention.head_dim) & (table["kv_cache_dtype"] == _KV[attention.kv_precision])]
        if "window_size" in rows:
            rows = rows[rows["window_size"] == attention.window]
        elif attention.window:
            rows = rows[:0]
        kv = rows["num_key_value_heads"].to_numpy()
        rows = rows[kv == min(set(kv.tolist()), key=lambda n: (abs(n - attention.kv_heads), -n), default=0)]
        self._need(
            rows if abs(rows["num_key_value_heads"].max() - attention.kv_heads) <= attention.kv_heads / 4 else rows[:0],
            f"attention of {attention.heads} heads on {attention.kv_heads} KV heads of {attention.head_dim}, "
            f"window {attention.window or 'none'}, {attention.kv_precision} KV",
        )
        counts = sorted(set(rows["num_heads"].tolist()))
        nearest = min(counts, key=lambda n: (abs(n - attention.heads), n))
        return rows[rows["num_heads"] == nearest], attention.heads / nearest

    def _need(self, rows: pd.DataFrame, what: str) -> None:
        if not len(rows):
            raise InputError(f"{self.root} ({self.gpu}): no rows for {what}; use another deployment or tables that have them")

    def _cells(self, precision: str) -> pd.DataFrame:
        key = f"gemm {precision}"
        if key not in self._read:
            gemm = self._table("gemm_perf")
            rows = gemm[gemm["gemm_dtype"] == _GEMM.get(precision)]
            self._need(rows, f"GEMMs in {precision}")
            self._read[key] = rows.pivot_table(index="m", columns=["n", "k"], values="latency")
        cells: pd.DataFrame = self._read[key]
        return cells

    def _table(self, name: str) -> pd.DataFrame:
        if name not in self._read:
            if name not in self._files:
                raise InputError(f"{self.root}: no {name}.parquet for {self.gpu}; use another deployment or tables that have it")
            self._read[name] = _read(self._files[name], _TABLES[name][1], self.gpu)
        table: pd.DataFrame = self._read[name]
        return table


def _between(cells: pd.DataFrame, n: int, k: int) -> tuple[Floats, Floats]:
    """``(m, seconds)`` at (n, k), bilinear between the table's neighbours."""
    ns, ks = (cells.columns.unique(level).sort_values().to_numpy() for level in ("n", "k"))
    parts = [wn * wk * cells[int(i), int(j)] for i, wn in _neighbours(ns, n) for j, wk in _neighbours(ks, k)]
    seconds = np.sum(parts, axis=0) * 1e-3
    there = np.isfinite(seconds)
    return cells.index.to_numpy(float)[there], seconds[there]


def read_tables(root: Path, gpu: str) -> Tables:
    """The newest vLLM tables of one GPU under ``root``.

    Raises:
        InputError: a folder or table is missing, tables are of several vLLM versions, a column lacks, or a latency is impossible.
    """
    if gpu not in SYSTEMS:
        raise InputError(f"gpu: AIConfigurator has no tables of vLLM on {gpu}; use one of {', '.join(SYSTEMS)}")
    system = SYSTEMS[gpu]
    files: dict[str, Path] = {}
    for name, (kind, _) in _TABLES.items():
        folder = root / "data" / system / kind / "vllm"
        found = sorted(
            folder.glob(f"*/{name}.parquet"), key=lambda p: [int(v) if v.isdigit() else 0 for v in p.parent.name.split(".")]
        )
        if found:
            files[name] = found[-1]
        elif name in REQUIRED:
            raise InputError(f"{folder}: no */{name}.parquet; give the folder that holds AIConfigurator's data/{system} tables")
    versions = {path.parent.name: path for name, path in files.items() if name in _SAME_VERSION}
    if len(versions) > 1:
        raise InputError(
            f"{root}: {', '.join(f'{path.name} is of vLLM {version}' for version, path in sorted(versions.items()))}; "
            "one fingerprint is of one engine version"
        )
    hashes = {f"{path.parent.parent.parent.name}/{path.name}": _digest(path) for path in files.values()}
    return Tables(gpu, f"vllm {next(iter(versions))}", root, hashes, files)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _read(path: Path, columns: Sequence[str], gpu: str) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_parquet(path)
    if missing := [c for c in (*columns, "latency") if c not in table]:
        raise InputError(f"{path}: column {missing[0]} is missing; expected AIConfigurator's columns {', '.join(columns)}, latency")
    bad = ~(np.isfinite(table["latency"]) & (table["latency"] > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{path}: row {row}: latency is {table['latency'].iloc[row]}; every call took a positive number of ms")
    folder = path.parent.name
    if path.stem in _SAME_VERSION and "version" in table and (other := table["version"].astype(str) != folder).any():
        row = int(np.flatnonzero(other)[0])
        raise InputError(f"{path}: row {row}: is of version {table['version'].iloc[row]}, the folder of {folder}; keep them apart")
    if path.stem == "gemm_perf":
        _check_units(table, path, gpu)
    else:
        _check_launches(table, path)
    return table


def _check_launches(table: pd.DataFrame, path: Path) -> None:
    """That latencies are in ms: the shortest call of a table is about a kernel's launch."""
    row = int(table["latency"].to_numpy().argmin())
    shortest = float(table["latency"].iloc[row])
    low, high = _SHORTEST_MS
    if not low < shortest < high:
        guess = "seconds" if shortest <= low else "µs"
        raise InputError(
            f"{path}: row {row}: latency {shortest:g} ms is the shortest, and a kernel's launch takes some µs; "
            f"latencies are in ms, are these {guess}?"
        )


def _check_units(table: pd.DataFrame, path: Path, gpu: str) -> None:
    """That latencies are in ms: no product beats the tensor cores, and large ones come within a factor of a hundred."""
    chip = GPUS[gpu]
    table = table[table["gemm_dtype"].isin(_GEMM.values())]
    flops = 2.0 * table["m"] * table["n"] * table["k"]
    peak = np.where(table["gemm_dtype"].str.startswith("fp8"), chip.fp8_flops or chip.bf16_flops, chip.bf16_flops)
    share: Floats = (flops / (table["latency"] * 1e-3) / peak).to_numpy(float)
    row = int(share.argmax())
    if share[row] > _FASTEST:
        raise InputError(
            f"{path}: row {table.index[row]}: latency {table['latency'].iloc[row]:g} ms means {share[row]:.3g} times {gpu}'s peak; "
            "latencies are in ms, are these seconds?"
        )
    large = flops.to_numpy() > 1e12
    if large.any() and np.median(share[large]) < 0.01:
        row = int(np.flatnonzero(large)[0])
        raise InputError(
            f"{path}: row {table.index[row]}: latency {table['latency'].iloc[row]:g} ms means {share[row]:.2%} of {gpu}'s peak; "
            "latencies are in ms, are these µs?"
        )


def _neighbours(grid: NDArray[Any], value: int) -> list[tuple[float, float]]:
    """The grid points around a value with their linear weights."""
    if value >= grid[-1]:
        return [(grid[-1], value / grid[-1])]
    i = max(1, int(np.searchsorted(grid, value, side="right")))
    low, high = grid[i - 1], grid[i]
    weight = (value - low) / (high - low)
    return [(low, 1 - weight), (high, weight)] if weight else [(low, 1.0)]


def _column(rows: pd.DataFrame, name: str) -> Floats:
    return rows[name].to_numpy(float)


def _seconds(rows: pd.DataFrame) -> Floats:
    return _column(rows, "latency") * 1e-3
