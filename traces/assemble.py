"""Assembles fingerprints from measured operator tables: ``python -m traces.assemble TABLES_DIR --out traces/fingerprints``.

The tables (``traces.operators``) hold one layer's GEMMs, attention and all-reduces. What they do not hold is estimated here by
the stated formulas: small kernels, sampling and host work. Nothing is calibrated to end-to-end measurements, which stay a check
(``tests/traces/test_assemble.py``): the natural constant, idle time between kernels, fitted to vLLM's measured TPOT of
Llama-3.1-70B at low concurrency comes out between -21 and +2 µs per layer of 120 to 290 µs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.fingerprint import Curve, Fingerprint, Terms
from traces.errors import InputError
from traces.fingerprints import file_name
from traces.hardware import GPU, GPUS, MODELS, ModelShape
from traces.operators import AttentionRows, Operators, read_operators

Floats = NDArray[np.float64]

HOST_S = 0.3e-3
"""Per step: sampling kernels' launches, input and output preparation that asynchronous scheduling does not hide (our estimate)."""
SMALL_KERNELS = 4
"""Per layer after torch.compile's fusions: two add + RMS norms, rotary embedding, SiLU × up."""
KERNEL_FLOOR_S = 3e-6
MEMORY_EFFICIENCY = 0.8
"""AIConfigurator's constants for memory-bound kernels: mem_empirical_constant_latency, mem_bw_empirical_scaling_factor."""
GRAPH_TOKENS = 512
"""vLLM captures CUDA graphs up to this many tokens; larger steps launch their all-reduces eagerly."""
SAMPLING_BYTES = 14
"""Traffic per logit: written in bf16, read, written and read twice in float32."""
SAMPLED_ROWS = 2048
"""Rows of logits up to which the head is tabulated: as many sequences as the decode tables hold."""
LIBRARY_PRECISIONS = ("bf16",)
"""``assemble`` also takes "fp8" where the tables hold it; those GEMMs are uneven over odd token counts and await padding."""
THINNING = 0.005
"""Breakpoints are left out where a curve stays this close to the fit, relatively."""


@dataclass(frozen=True)
class Fit:
    """A fingerprint, and the relative errors of its terms on the rows of the tables."""

    fingerprint: Fingerprint
    errors: dict[str, Floats]


def assemble(operators: Operators, model: ModelShape, gpu: GPU, tensor_parallel: int, precision: str) -> Fit:
    """The fingerprint of one deployment."""
    tp, layers = tensor_parallel, model.layers
    gemm, gemm_errors = _gemm(operators, model, tp, precision)
    small_kernels = _small_kernels(model, gpu, tp)

    def others(tokens: Floats) -> Floats:
        """A layer's time outside attention: attention is fitted for small errors relative to the whole layer."""
        return (gemm.many(tokens) + small_kernels.many(tokens)) / layers

    heads = model.heads // tp, max(1, model.kv_heads // tp), model.head_dim
    decode, prefill = operators.decode(*heads), operators.prefill(*heads)
    floor = float(np.median(decode.seconds[(decode.batch == 1) & (decode.context <= 64)]))
    per_request, per_context, decode_errors = _fit_decode(decode, floor, others)
    (chunk, token, square), prefill_errors = _fit_prefill(prefill, floor, others)
    terms = Terms(
        overhead=_round(HOST_S + layers * floor),
        gemm=gemm,
        all_reduce=_all_reduce(operators, model, tp),
        small_kernels=small_kernels,
        sampled=_sampled(operators, model, gpu, tp),
        prefill_chunk=_round(layers * chunk),
        prefill_token=_round(layers * token),
        prefill_attention=_round(layers * square),
        decode=_curve(*per_request, scale=layers),
        decode_context=_round(layers * per_context),
    )
    errors = {
        "GEMM, interpolation in n": gemm_errors[0],
        "GEMM, smoothing in m": gemm_errors[1],
        "prefill attention in its layer": prefill_errors,
        "decode attention in its layer": decode_errors,
    }
    fingerprint = Fingerprint(
        model=model.name,
        gpu=gpu.name,
        tensor_parallel=tp,
        precision=precision,
        engine=operators.engine,
        provenance="assembled",
        source=_source(operators, layers, floor),
        terms=terms,
        calibrated={
            "tokens": (1, gemm.x[-1]),
            "prefill_chunk": (1, float(prefill.tokens.max())),
            "decode_seqs": (1, terms.decode.x[-1]),
            "decode_context_per_seq": (1, float(decode.context.max())),
        },
        residual=_round(float(np.sqrt(np.mean(np.concatenate([gemm_errors[1], decode_errors]) ** 2)))),
    )
    return Fit(fingerprint, errors)


def _gemm(operators: Operators, model: ModelShape, tp: int, precision: str) -> tuple[Curve, tuple[Floats, Floats]]:
    """The four GEMMs of all layers by tokens, and the errors of interpolating between shapes and of smoothing over tokens."""
    attention, kv = model.heads * model.head_dim // tp, max(1, model.kv_heads // tp) * model.head_dim
    shapes = (
        (attention + 2 * kv, model.hidden),
        (model.hidden, attention),
        (2 * model.intermediate // tp, model.hidden),
        (model.hidden, model.intermediate // tp),
    )
    total: Floats = np.zeros(1)
    interpolation = []
    for n, k in shapes:
        m, seconds = operators.gemm(n, k, precision)
        total = total + model.layers * seconds
        interpolation.append(operators.gemm_interpolation_error(n, k, precision))
    curve = _curve(m, _rising(total))
    return curve, (np.concatenate(interpolation), curve.many(m) / total - 1)


def _all_reduce(operators: Operators, model: ModelShape, tp: int) -> Curve:
    """Two all-reduces per layer, of tokens × hidden elements."""
    if tp == 1:
        return Curve.proportional(0.0)
    elements, graph = operators.all_reduce(tp, graph=True)
    _, eager = operators.all_reduce(tp, graph=False)
    tokens = elements / model.hidden
    seconds = np.where(tokens <= GRAPH_TOKENS, graph, eager)
    whole = tokens >= 1
    return _curve(tokens[whole], _rising(seconds[whole]), scale=2 * model.layers)


def _small_kernels(model: ModelShape, gpu: GPU, tp: int) -> Curve:
    """Memory-bound: each norm reads and writes input and residual, SiLU × up reads two and writes one, rotary reads and writes."""
    rotary = 2 * (model.heads + model.kv_heads) * model.head_dim // tp
    values = 2 * 4 * model.hidden + 3 * model.intermediate // tp + rotary
    per_token = model.layers * values * 2 / (gpu.hbm_bytes_s * MEMORY_EFFICIENCY)
    fixed = model.layers * SMALL_KERNELS * KERNEL_FLOOR_S
    return _curve(np.array([1.0, 32768.0]), fixed + per_token * np.array([1.0, 32768.0]))


def _sampled(operators: Operators, model: ModelShape, gpu: GPU, tp: int) -> Curve:
    """The language-model head in bf16, the gathering of its shards, and sampling's passes over the logits, by rows."""
    rows, head = operators.gemm(model.vocab // tp, model.hidden, "bf16")
    rows, head = rows[rows <= SAMPLED_ROWS], head[rows <= SAMPLED_ROWS]
    logits = rows * model.vocab
    sampling = logits * SAMPLING_BYTES / (gpu.hbm_bytes_s * MEMORY_EFFICIENCY)
    gathering = logits * 2 / (gpu.nvlink_bytes_s * MEMORY_EFFICIENCY) if tp > 1 else 0.0
    return _curve(rows, _rising(head) + sampling + gathering)


def _fit_decode(
    rows: AttentionRows, floor: float, others: Callable[[Floats], Floats]
) -> tuple[tuple[Floats, Floats], float, Floats]:
    """One layer's decode attention as floor + A(requests) + B × KV tokens: A by number of requests, B, and the errors.

    One bandwidth term B for all batch sizes: fitted one by one they fall a little as batches grow, and a step would get faster
    when a request of the same total context joined. Contexts below 128 tokens are left out: there the launch is all.
    """
    from scipy.optimize import nnls

    use = rows.context >= 128
    batch, kv, seconds = rows.batch[use], (rows.batch * rows.context)[use], rows.seconds[use]
    sizes = np.unique(batch)
    layer = seconds + others(batch)
    design = np.column_stack([batch[:, None] == sizes, kv * 1e-9]) / layer[:, None]
    solution, _ = nnls(design, (seconds - floor) / layer)
    per_request = _rising(solution[:-1])
    per_context = float(solution[-1]) * 1e-9
    fitted = floor + per_request[np.searchsorted(sizes, batch)] + per_context * kv
    return (sizes, per_request), per_context, (fitted - seconds) / layer


def _fit_prefill(rows: AttentionRows, floor: float, others: Callable[[Floats], Floats]) -> tuple[tuple[float, ...], Floats]:
    """One layer's prefill attention as floor + c0 × chunks + c1 × tokens + c2 × Σ chunk × (context + chunk / 2), and the errors.

    Without the term per token (queries, keys and values moved once) the median error is five times as large. The tables hold
    whole prompts only: that earlier context costs what the new tokens' own triangle costs per token² is the kernel's algorithm.
    """
    from scipy.optimize import nnls

    use = (rows.tokens >= 16) & (rows.batch * rows.tokens <= 32768)
    chunks, seconds = rows.batch[use], rows.seconds[use]
    tokens = chunks * rows.tokens[use]
    square = chunks * rows.tokens[use] ** 2 / 2
    layer = seconds + others(tokens)
    units = np.array([1e-6, 1e-9, 1e-12])
    design = np.column_stack([chunks, tokens, square]) * units / layer[:, None]
    solution, _ = nnls(design, (seconds - floor) / layer)
    fitted = design @ solution + floor / layer
    return tuple((solution * units).tolist()), fitted - seconds / layer


def _rising(y: Floats) -> Floats:
    """The non-decreasing sequence nearest to y in relative error (isotonic regression: pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value in y.tolist():
        weight = 1 / max(value, 1e-12) ** 2
        mean, count = value, 1
        while blocks and blocks[-1][0] > mean:
            before, other, size = blocks.pop()
            mean = (mean * weight + before * other) / (weight + other)
            weight, count = weight + other, count + size
        blocks.append((mean, weight, count))
    return np.repeat([b[0] for b in blocks], [b[2] for b in blocks])


def _curve(x: Floats, y: Floats, scale: float = 1.0) -> Curve:
    """A curve through as few of the points as keep the others within ``THINNING`` (Ramer, Douglas and Peucker, relative error)."""
    keep = {0, len(x) - 1}
    spans = [(0, len(x) - 1)]
    while spans:
        low, high = spans.pop()
        inner = np.arange(low + 1, high)
        if not len(inner):
            continue
        line = y[low] + (y[high] - y[low]) * (x[inner] - x[low]) / (x[high] - x[low])
        error = np.abs(line - y[inner]) / np.maximum(y[inner], 1e-12)
        worst = int(error.argmax())
        if error[worst] > THINNING:
            split = low + 1 + worst
            keep.add(split)
            spans += [(low, split), (split, high)]
    kept = sorted(keep)
    return Curve(tuple(x[kept].tolist()), tuple(_round(scale * v) for v in y[kept].tolist()))


def _round(value: float) -> float:
    return float(f"{value:.5g}")


def _source(operators: Operators, layers: int, floor: float) -> str:
    return (
        f"Operator tables of NVIDIA AIConfigurator (Apache-2.0), {operators.gpu}_sxm, {operators.engine}, by traces.assemble. "
        f"overhead = {HOST_S * 1e3:g} ms of host work (estimate) + {layers} layers × {floor * 1e6:.1f} µs attention launch. "
        f"Small kernels and sampling are memory-bound estimates ({SMALL_KERNELS} kernels per layer of at least "
        f"{KERNEL_FLOOR_S * 1e6:g} µs, {MEMORY_EFFICIENCY:.0%} of HBM bandwidth). No constant is calibrated end to end; batches "
        "are not padded to CUDA graph sizes. residual = root mean square of the fits' errors relative to a layer; the tables hold "
        "no run-to-run noise."
    )


def fits(tables: Path) -> Iterator[Fit]:
    """All deployments of known models on known GPUs at tensor parallelism 1, 2, 4, 8 that fit their GPUs' memory."""
    for gpu in GPUS.values():
        operators = read_operators(tables, gpu.name)
        for model in MODELS.values():
            for precision in LIBRARY_PRECISIONS:
                for tp in (1, 2, 4, 8):
                    try:
                        model.kv_tokens_capacity(gpu, tp, precision)
                    except InputError:
                        continue
                    yield assemble(operators, model, gpu, tp, precision)


def to_json(fingerprint: Fingerprint) -> str:
    """Readable JSON, one line per list, whole numbers without a fraction."""
    text = json.dumps(_whole(fingerprint.to_dict()), indent=1, ensure_ascii=False)
    return re.sub(r"\[[^]]*\]", lambda listing: json.dumps(json.loads(listing[0])), text) + "\n"


def _whole(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _whole(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_whole(value) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m traces.assemble", description="Fit fingerprints to operator tables.")
    parser.add_argument(
        "tables", type=Path, metavar="TABLES_DIR", help="AIConfigurator's systems folder (holds data/h200_sxm, ...)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the fingerprints' JSON files")
    options = parser.parse_args(argv)
    try:
        made = list(fits(options.tables))
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for fit in made:
        print(fit.fingerprint.name)
        for term, errors in fit.errors.items():
            if len(errors):
                size = np.abs(errors)
                print(f"  {term:32} |error| median {np.median(size):5.1%}  p90 {np.quantile(size, 0.9):5.1%}  ({len(size)} rows)")
        (options.out / file_name(fit.fingerprint.name)).write_text(to_json(fit.fingerprint), encoding="utf-8")
    print(f"{len(made)} fingerprints written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
