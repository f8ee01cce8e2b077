"""Fits the roofline's shares to measured tables: ``python -m traces.assembly.efficiency TABLES_DIR``.

For every operator the shares minimise the squared logarithm of predicted over measured time, all GPUs alike. Leaving one GPU out
tells what the roofline is worth for a GPU without tables: shares from the others, error on its own, operator by operator and
for whole steps against the fingerprint assembled from its tables.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from policies.latency import FingerprintLatency, StepShape
from traces.assembly.assemble import assemble
from traces.assembly.deployment import Deployment
from traces.errors import InputError
from traces.hardware import GPUS, KV_BYTES, WEIGHT_BYTES, Experts
from traces.operators.kinds import Attention, Floats
from traces.operators.roofline import FILE, SHARPNESS, Efficiency, Roofline, all_reduce_kind
from traces.operators.tables import SYSTEMS, Tables, read_tables

_SHAPES = [(n, k) for n in (2560, 4096, 6144, 10240, 16384) for k in (2048, 4096, 8192)]
_HEADS = [(32, 8), (16, 4), (8, 2), (16, 8), (8, 1)]
_EXPERTS = [(4096, Experts(8, 2, 14336), "bf16"), (2048, Experts(128, 8, 768), "bf16"), (4096, Experts(128, 8, 1536), "fp8")]

_STEPS = [StepShape(decode_seqs=n, decode_context=n * each) for n in (1, 4, 16, 64, 256) for each in (512, 4096)] + [
    StepShape(n, n * n / 2, 1) for n in (256, 1024, 2048, 8192)
]

Rows = dict[str, Floats]
Model = Callable[[Rows, Floats], Floats]


def _gemm_rows(tables: Tables) -> Rows:
    chip, parts = GPUS[tables.gpu], []
    for precision, peak in (("bf16", chip.bf16_flops), ("fp8", chip.fp8_flops or chip.bf16_flops)):
        for n, k in _SHAPES:
            try:
                m, seconds = tables.gemm(n, k, precision)
            except InputError:
                continue
            parts.append(
                np.array([2 * m * n * k / peak, (n * k * WEIGHT_BYTES[precision] + 2 * m * (n + k)) / chip.hbm_bytes_s, seconds])
            )
    return _named(("arithmetic", "memory", "seconds"), parts)


def _expert_rows(tables: Tables) -> Rows:
    chip, parts = GPUS[tables.gpu], []
    for hidden, experts, precision in _EXPERTS:
        peak = (chip.bf16_flops if precision == "bf16" else chip.fp8_flops) or chip.bf16_flops
        for slices in (1, 2, 4):
            try:
                m, seconds = tables.experts(hidden, experts, precision, slices, 1)
            except InputError:
                continue
            weights = 3 * hidden * experts.intermediate / slices
            picked = experts.count * (1 - (1 - 1 / experts.count) ** (m * experts.top_k))
            traffic = picked * weights * WEIGHT_BYTES[precision] + 4 * m * experts.top_k * hidden
            parts.append(np.array([2 * weights * m * experts.top_k / peak, traffic / chip.hbm_bytes_s, seconds]))
    return _named(("arithmetic", "memory", "seconds"), parts)


def _prefill_rows(tables: Tables) -> Rows:
    parts = []
    for heads, kv in _HEADS:
        rows = tables.prefill(Attention(heads, kv, 128))
        tokens = rows.batch * rows.tokens
        use = (rows.tokens >= 64) & (tokens <= 32768)
        arithmetic = 2 * heads * 128 * rows.batch * rows.tokens**2 / GPUS[tables.gpu].bf16_flops
        parts.append(np.array([arithmetic, tokens * heads, rows.seconds])[:, use])
    return _named(("arithmetic", "count", "seconds"), parts)


def _decode_rows(tables: Tables) -> Rows:
    parts = []
    for heads, kv in _HEADS:
        rows = tables.decode(Attention(heads, kv, 128))
        read = rows.batch * rows.context * kv * 2 * 128 * KV_BYTES["bf16"] / GPUS[tables.gpu].hbm_bytes_s
        parts.append(np.array([read, rows.batch * kv, rows.seconds])[:, rows.context >= 64])
    return _named(("memory", "count", "seconds"), parts)


def _all_reduce_rows(kind: str) -> Callable[[Tables], Rows]:
    def rows(tables: Tables) -> Rows:
        parts = []
        graph = not kind.endswith("eager")
        for gpus in (2, 4, 8) if all_reduce_kind(GPUS[tables.gpu], graph=graph) == kind else ():
            elements, seconds = tables.all_reduce(gpus, graph=graph)
            sent = 4 * (gpus - 1) / gpus * elements / GPUS[tables.gpu].nvlink_bytes_s
            parts.append(np.array([sent, np.ones_like(sent), seconds])[:, (elements >= 2**12) & (elements <= 2**27)])
        return _named(("memory", "count", "seconds"), parts)

    return rows


def _roof(rows: Rows, p: Floats) -> Floats:
    launch, compute, memory = p
    bound = (rows["arithmetic"] / compute) ** SHARPNESS + (rows["memory"] / memory) ** SHARPNESS
    return np.asarray(launch + bound ** (1 / SHARPNESS))


def _prefill(rows: Rows, p: Floats) -> Floats:
    return np.asarray(p[0] + rows["arithmetic"] / p[1] + p[2] * rows["count"])


def _decode(rows: Rows, p: Floats) -> Floats:
    return np.asarray(p[0] + rows["memory"] / p[1] + p[2] * rows["count"])


def _reduce(rows: Rows, p: Floats) -> Floats:
    return np.asarray(np.maximum(p[0] + rows["memory"] / p[1], p[2]))


KINDS: Mapping[str, tuple[Callable[[Tables], Rows], Model, tuple[float, float, float]]] = {
    "gemm": (_gemm_rows, _roof, (3e-6, 0.7, 0.8)),
    "experts": (_expert_rows, _roof, (20e-6, 0.5, 0.7)),
    "prefill": (_prefill_rows, _prefill, (10e-6, 0.6, 1e-11)),
    "decode": (_decode_rows, _decode, (10e-6, 0.85, 2e-8)),
    "all_reduce": (_all_reduce_rows("all_reduce"), _reduce, (4e-6, 0.7, 4e-6)),
    "all_reduce_eager": (_all_reduce_rows("all_reduce_eager"), _reduce, (10e-6, 0.7, 20e-6)),
    "all_reduce_pcie": (_all_reduce_rows("all_reduce_pcie"), _reduce, (4e-6, 0.7, 4e-6)),
    "all_reduce_pcie_eager": (_all_reduce_rows("all_reduce_pcie_eager"), _reduce, (10e-6, 0.7, 20e-6)),
}


def fit(kind: str, rows: Sequence[Rows]) -> Floats:
    """The three parameters of one operator that fit the rows of several GPUs best; every GPU weighs alike."""
    from scipy.optimize import least_squares

    _, model, start = KINDS[kind]
    there = [r for r in rows if len(r["seconds"])]

    def residuals(log: Floats) -> Floats:
        return np.concatenate([np.log(model(r, np.exp(log)) / r["seconds"]) / np.sqrt(len(r["seconds"])) for r in there])

    return np.asarray(np.exp(least_squares(residuals, np.log(start)).x))


def shares(parameters: Mapping[str, Floats], source: str) -> Efficiency:
    """Parameters by operator as the roofline takes them."""
    p = {kind: [float(f"{v:.4g}") for v in values] for kind, values in parameters.items()}
    compute = {kind: p[kind][1] for kind in ("gemm", "experts", "prefill")}
    memory = {kind: p[kind][2] for kind in ("gemm", "experts")} | {kind: p[kind][1] for kind in p if kind[:3] in ("dec", "all")}
    each = {kind: p[kind][2] for kind in p if kind not in ("gemm", "experts")}
    return Efficiency(compute, memory, {kind: p[kind][0] for kind in p}, each, source)


def study(tables: Mapping[str, Tables]) -> dict[str, object]:
    """What the file holds: the shares of all GPUs together, and per operator, and for whole "steps", by GPU the errors (median,
    90th percentile of |predicted / measured - 1|, number of rows) of shares fitted on the other GPUs."""
    rows = {kind: {gpu: KINDS[kind][0](t) for gpu, t in tables.items()} for kind in KINDS}
    whole = {kind: fit(kind, list(rows[kind].values())) for kind in KINDS}
    held_out: dict[str, dict[str, list[float]]] = {}
    for gpu in tables:
        others = {kind: fit(kind, [r for other, r in rows[kind].items() if other != gpu]) for kind in KINDS}
        for kind, by_gpu in rows.items():
            if len(own := by_gpu[gpu]["seconds"]):
                held_out.setdefault(kind, {})[gpu] = _summary(KINDS[kind][1](by_gpu[gpu], others[kind]) / own - 1)
        held_out.setdefault("steps", {})[gpu] = _summary(_step_errors(tables[gpu], shares(others, "")))
    source = f"operator tables of NVIDIA AIConfigurator (Apache-2.0), vLLM, on {', '.join(tables)}"
    return {"all": asdict(shares(whole, source)), "leave_one_gpu_out": held_out}


def _step_errors(tables: Tables, others: Efficiency) -> Floats:
    """Of whole steps of Llama-3.1 8B and 70B in bf16, against the fingerprint assembled from the GPU's own tables."""
    found = []
    for name, shards in (("llama-3.1-8b", (1, 2)), ("llama-3.1-70b", (4, 8))):
        for tp in shards:
            deployment = Deployment.named(name, tables.gpu, tp, "bf16")
            ours = FingerprintLatency(assemble(Roofline(GPUS[tables.gpu], others), deployment, "analytic").fingerprint)
            theirs = FingerprintLatency(assemble(tables, deployment).fingerprint)
            found += [ours.seconds(step) / theirs.seconds(step) - 1 for step in _STEPS]
    return np.array(found)


def _summary(errors: Floats) -> list[float]:
    size = np.abs(errors)
    return [round(float(np.median(size)), 4), round(float(np.quantile(size, 0.9)), 4), len(size)]


def _named(names: Sequence[str], parts: Sequence[Floats]) -> Rows:
    joined = np.concatenate(parts, axis=1) if parts else np.empty((len(names), 0))
    return dict(zip(names, joined, strict=True))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m traces.assembly.efficiency", description="Fit the roofline's shares.")
    parser.add_argument("tables", type=Path, metavar="TABLES_DIR", help="AIConfigurator's systems folder")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args(argv)
    try:
        found = study({gpu: read_tables(options.tables, gpu) for gpu in SYSTEMS})
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 2
    text = re.sub(r"\[[^]]*\]", lambda listing: json.dumps(json.loads(listing[0])), json.dumps(found, indent=1))
    options.out.write_text(text + "\n", encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
