"""Assembles a fingerprint from operator times.

An operator source (``traces.operators``) has one layer's GEMMs, attention, experts and all-reduces. What it does not have is
estimated here by the stated formulas: small kernels, sampling and host work. Nothing is calibrated to end-to-end measurements,
which stay a check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from policies.curve import Curve, Lines
from policies.fingerprint import NOTHING, Fingerprint, Terms
from traces.assembly.attention import fit_decode, fit_prefill, launch_floor, sum_of_layers
from traces.assembly.curves import GRAPH_TOKENS, five_digits, padded, rising, thinned
from traces.assembly.deployment import Deployment
from traces.assembly.noise import STEP_NOISE, STEP_SIGMA
from traces.assembly.pipeline import in_stages
from traces.hardware import KV_BYTES
from traces.operators.kinds import Attention, AttentionRows, Floats, Operators

HOST_S = 0.3e-3
"""Per step: sampling kernels' launches, input and output preparation that asynchronous scheduling does not hide (our estimate)."""
SMALL_KERNELS = 4
"""Per layer after torch.compile's fusions: two add + RMS norms, rotary embedding, SiLU × up."""
ROUTING_KERNELS = 1
"""Per layer of experts: softmax and top-k of the router's output."""
KERNEL_FLOOR_S = 3e-6
MEMORY_EFFICIENCY = 0.8
"""AIConfigurator's constants for memory-bound kernels: mem_empirical_constant_latency, mem_bw_empirical_scaling_factor."""
SAMPLING_BYTES = 14
"""Traffic per logit: written in bf16, read, written and read twice in float32."""
SAMPLED_ROWS = 2048
"""Rows of logits up to which the head is tabulated: as many sequences as the decode tables hold."""
MOST_TOKENS = 32768.0


@dataclass(frozen=True)
class Fit:
    """A fingerprint, and the relative errors of its terms on the rows behind them."""

    fingerprint: Fingerprint
    errors: dict[str, Floats]


class Assembly:
    """The fingerprint of one deployment in the making."""

    def __init__(self, operators: Operators, deployment: Deployment) -> None:
        self.operators, self.deployment = operators, deployment
        self.errors: dict[str, Floats] = {}

    def fit(self, provenance: Literal["assembled", "analytic"]) -> Fit:
        """Raises:
        InputError: the operator source does not cover the deployment.
        """
        deployment, operators = self.deployment, self.operators
        shape = deployment.model
        gemm, experts, small = self._gemm(), self._experts(), self._small_kernels()
        per_layer = gemm + small + experts if experts != NOTHING else gemm + small

        def others(tokens: Floats) -> Floats:
            """A layer's time outside attention: attention is fitted for small errors relative to the whole layer."""
            return per_layer.many(tokens) / shape.layers

        kinds = self._attention_kinds()
        floors = [launch_floor(decode) for _, decode, _, _ in kinds]
        decode = self._decode(kinds, floors, others)
        chunk, token, square = self._prefill(kinds, floors, others)
        overhead = HOST_S + sum(layers * floor for (layers, *_), floor in zip(kinds, floors, strict=True))
        terms = Terms(
            overhead=five_digits(overhead),
            gemm=gemm,
            sampled=self._sampled(),
            prefill_chunk=five_digits(chunk),
            prefill_token=five_digits(token),
            prefill_attention=five_digits(square),
            decode=decode,
            all_reduce=self._all_reduce(),
            small_kernels=small,
            experts=experts,
        )
        _, first, prompts, _ = kinds[0]
        fingerprint = Fingerprint(
            model=shape.name,
            gpu=deployment.gpu.name,
            tensor_parallel=deployment.tensor_parallel,
            precision=deployment.precision,
            engine=operators.engine,
            provenance=provenance,
            source=self._source(overhead - HOST_S),
            terms=terms,
            calibrated={
                "tokens": (1, min(gemm.x[-1], experts.x[-1]) if experts != NOTHING else gemm.x[-1]),
                "prefill_chunk": (1, float(prompts.tokens.max())),
                "decode_seqs": (1, decode.requests[-1]),
                "decode_context_per_seq": (1, float(first.context.max())),
            },
            residual=STEP_SIGMA,
            expert_parallel=deployment.expert_parallel,
            kv_precision=deployment.kv_precision,
            errors={name: _summary(errors) for name, errors in self.errors.items() if len(errors)},
            hashes=operators.hashes,
            noise=STEP_NOISE,
        )
        return Fit(fingerprint, self.errors)

    def _gemm(self) -> Curve:
        """The matrix products of all layers by tokens, padded to CUDA graph sizes."""
        grid, total, interpolation = np.empty(0), np.empty(0), []
        for count, n, k, precision in self.deployment.linears():
            m, seconds = self.operators.gemm(n, k, precision)
            grid, total = (m, count * seconds) if not len(grid) else (grid, total + count * np.interp(grid, m, seconds))
            interpolation.append(self.operators.gemm_interpolation_error(n, k, precision))
        x, y = padded(grid, total)
        curve = thinned(x, rising(y))
        self.errors["GEMM, interpolation in n"] = np.concatenate(interpolation)
        self.errors["GEMM, smoothing in m"] = curve.many(x) / y - 1
        return curve

    def _experts(self) -> Curve:
        """The routed experts of all layers by tokens."""
        deployment, shape = self.deployment, self.deployment.model
        if shape.experts is None:
            return NOTHING
        slices, spread = (1, deployment.tensor_parallel) if deployment.expert_parallel else (deployment.tensor_parallel, 1)
        tokens, seconds = self.operators.experts(shape.hidden, shape.experts, deployment.precision, slices, spread)
        smooth = rising(seconds)
        self.errors["experts, smoothing in tokens"] = smooth / seconds - 1
        return thinned(tokens, shape.expert_layers * smooth)

    def _all_reduce(self) -> Curve:
        """Two all-reduces per layer, of tokens × hidden elements."""
        shape, gpus = self.deployment.model, self.deployment.tensor_parallel
        if gpus == 1:
            return NOTHING
        elements, graph = self.operators.all_reduce(gpus, graph=True)
        _, eager = self.operators.all_reduce(gpus, graph=False)
        tokens = elements / shape.hidden
        captured = np.append(tokens[tokens < GRAPH_TOKENS], float(GRAPH_TOKENS))
        x, y = padded(captured, np.interp(captured, tokens, graph))
        larger = tokens[tokens > GRAPH_TOKENS + 1]
        x = np.concatenate([x, [GRAPH_TOKENS + 1.0], larger])
        y = np.concatenate([y, np.interp([GRAPH_TOKENS + 1.0, *larger], tokens, eager)])
        keep = (x >= 1) & (x <= MOST_TOKENS)
        return thinned(x[keep], 2 * shape.layers * rising(y[keep]))

    def _small_kernels(self) -> Curve:
        """Memory-bound: each norm reads and writes input and residual, SiLU × up reads two and writes one, rotary reads and writes.

        A module of latent attention has its own rotary embedding and norms within; experts have their activation.
        """
        shape, tp = self.deployment.model, self.deployment.tensor_parallel
        rotary = 0 if shape.latent else 2 * (shape.heads + shape.kv_heads) * shape.head_dim // tp
        shared = shape.experts.shared if shape.experts else 0
        gated = shape.mlp_layers * shape.intermediate + shape.expert_layers * shared
        values = shape.layers * (2 * 4 * shape.hidden + rotary) + 3 * gated // tp
        without_rotary = shape.layers if shape.latent else 0
        without_gate = shape.expert_layers if not shared else 0
        kernels = shape.layers * SMALL_KERNELS - without_rotary - without_gate + shape.expert_layers * ROUTING_KERNELS
        x = np.array([1.0, MOST_TOKENS])
        return thinned(x, kernels * KERNEL_FLOOR_S + values * 2 / (self.deployment.gpu.hbm_bytes_s * MEMORY_EFFICIENCY) * x)

    def _sampled(self) -> Curve:
        """The language-model head in bf16, the gathering of its shards, and sampling's passes over the logits, by rows."""
        shape, gpu, tp = self.deployment.model, self.deployment.gpu, self.deployment.tensor_parallel
        rows, head = self.operators.gemm(shape.vocab // tp, shape.hidden, "bf16")
        rows, head = rows[rows <= SAMPLED_ROWS], head[rows <= SAMPLED_ROWS]
        logits = rows * shape.vocab
        sampling = logits * SAMPLING_BYTES / (gpu.hbm_bytes_s * MEMORY_EFFICIENCY)
        gathering = logits * 2 / (gpu.nvlink_bytes_s * MEMORY_EFFICIENCY) if tp > 1 else 0.0
        return thinned(rows, rising(head) + sampling + gathering)

    def _attention_kinds(self) -> list[tuple[int, AttentionRows, AttentionRows, int]]:
        """``(layers, decode rows, prefill rows, window)`` of each kind of attention layer, those that see all tokens first."""
        deployment, shape, operators = self.deployment, self.deployment.model, self.operators
        if shape.latent:
            asked = (shape.heads // deployment.tensor_parallel, deployment.linear_precision, deployment.kv_precision)
            rows = operators.latent(*asked, prefill=False).within(shape.max_context)
            return [(shape.layers, rows, operators.latent(*asked, prefill=True), 0)]
        kinds = []
        for layers, window in ((shape.layers - shape.windowed_layers, 0), (shape.windowed_layers, shape.window)):
            if layers:
                attention = Attention.of(shape, deployment.tensor_parallel, deployment.kv_precision, window=window)
                rows = operators.decode(attention).within(shape.max_context)
                kinds.append((layers, rows, operators.prefill(attention), window))
        return kinds

    def _decode(self, kinds: list[tuple[int, AttentionRows, AttentionRows, int]], floors: list[float], others: object) -> Lines:
        """Decode attention of all layers. A layer with a window costs what a full window costs, whatever the context."""
        assert callable(others)
        deployment, shape = self.deployment, self.deployment.model
        capacity = deployment.gpu.memory_bytes / shape.kv_bytes_per_token(
            deployment.tensor_parallel, kv_precision=deployment.kv_precision
        )
        values = (
            shape.latent.kv_rank + shape.latent.rotary_dim
            if shape.latent
            else (2 * max(1, shape.kv_heads // deployment.tensor_parallel) * shape.head_dim)
        )
        parts, errors = [], []
        for (layers, decode, _, window), floor in zip(kinds, floors, strict=True):
            if window:
                full = decode.context >= window
                sizes = np.unique(decode.batch[full])
                seconds = rising(np.array([np.median(decode.seconds[full & (decode.batch == n)]) for n in sizes]))
                lines = Lines(tuple(sizes.tolist()), tuple(np.maximum(seconds - floor, 0.0).tolist()), (0.0,) * len(sizes))
            else:
                lines, error = fit_decode(
                    decode,
                    floor,
                    others,
                    least_slope=values * KV_BYTES[deployment.kv_precision] / deployment.gpu.hbm_bytes_s,
                    most_context=max(float((decode.batch * decode.context).max()), capacity),
                )
                errors.append(error)
            parts.append((layers, lines))
        self.errors["decode attention in its layer"] = np.concatenate(errors)
        return sum_of_layers(parts)

    def _prefill(
        self, kinds: list[tuple[int, AttentionRows, AttentionRows, int]], floors: list[float], others: object
    ) -> tuple[float, float, float]:
        """Prefill attention of all layers, per chunk, token and token²; a window makes it linear in the tokens."""
        assert callable(others)
        totals, errors = np.zeros(3), []
        for (layers, _, prefill, window), floor in zip(kinds, floors, strict=True):
            if window:
                use = prefill.tokens >= 2 * window
                tokens = (prefill.batch * prefill.tokens)[use]
                totals[1] += layers * float(np.median(np.maximum(prefill.seconds[use] - floor, 0.0) / tokens))
            else:
                coefficients, error = fit_prefill(prefill, floor, others)
                totals += layers * np.array(coefficients)
                errors.append(error)
        self.errors["prefill attention in its layer"] = np.concatenate(errors)
        chunk, token, square = totals.tolist()
        return chunk, token, square

    def _source(self, floors: float) -> str:
        shape = self.deployment.model
        parts = [
            f"{self.operators.source}.",
            f"overhead = {HOST_S * 1e3:g} ms of host work (estimate) + {floors * 1e3:.2f} ms of attention launches.",
            f"Small kernels and sampling are memory-bound estimates ({SMALL_KERNELS} kernels per layer of at least "
            f"{KERNEL_FLOOR_S * 1e6:g} µs, {MEMORY_EFFICIENCY:.0%} of HBM bandwidth).",
            "Steps up to 512 tokens are padded to CUDA graph sizes. No constant is calibrated end to end.",
        ]
        if shape.experts:
            parts.append("Tokens spread unevenly over experts (power law of exponent 1.2).")
        if self.deployment.linear_precision == "fp8_block":
            parts.append("Block-scaled products that the table shows launch-bound are taken from per-token FP8.")
        parts.append("Noise: of vLLM 0.19 replays on RTX PRO 6000 (LLMServingSim, MIT).")
        return " ".join(parts)


def assemble(operators: Operators, deployment: Deployment, provenance: Literal["assembled", "analytic"] = "assembled") -> Fit:
    """The fingerprint of one deployment.

    Raises:
        InputError: the operator source does not cover it.
    """
    fit = Assembly(operators, deployment).fit(provenance)
    return Fit(in_stages(fit.fingerprint, deployment), fit.errors)


def _summary(errors: Floats) -> tuple[float, float, int]:
    size = np.abs(errors)
    return five_digits(float(np.median(size))), five_digits(float(np.quantile(size, 0.9))), len(size)
