"""MaverIQ's own engine: requests one batch after the other, no continuous batching, estimated from fingerprints.

Its numbers come from ``policies.extrapolation``: constants of the hardware, work counted from the architecture. This is the engine
of the paper's evaluation (TensorRT-LLM 0.9, batch 1, 923 prompt tokens, 20 output tokens, RTX A6000).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from policies.extrapolation import Architecture, Extrapolation, Interval, Runs
from policies.iserve.accuracy import relative_accuracy
from policies.iserve.candidate import Candidate, Estimate, Footprint
from policies.iserve.configuration import Configuration, space

_ENDS_BYTES = 2
_KV_BYTES: Mapping[str, float] = MappingProxyType({"fp16": 2.0, "bf16": 2.0, "int8": 1.0, "fp8": 1.0})

PRECISIONS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"fp16": ("fp16", "int8"), "int8": ("fp16", "int8"), "int4": ("fp16", "int8"), "int4-g128": ("fp16",)}
)
"""Precision of the weights → of the KV cache, of MaverIQ's Llama models; the others have neither int4-g128 nor an 8-bit cache."""


LEVEL = 0.95
"""Share of measurements that an estimate's interval is to hold."""


@dataclass(frozen=True)
class FixedBatch:
    """Estimates for engines that run batches of ``batch`` requests, each ``prompt`` tokens in and ``output`` out, one at a time.

    Every estimate has the extrapolation's prediction interval, at ``LEVEL``. ``gpu_bytes``: memory of a GPU that engines may use.
    ``usd_per_gpu_hour``: its price.
    """

    extrapolation: Extrapolation
    gpu: str
    gpu_bytes: float
    usd_per_gpu_hour: float
    prompt: int = 923
    output: int = 20
    batch: int = 1

    def candidates(
        self,
        model: str,
        architecture: Architecture,
        *,
        gpus: int,
        precisions: Mapping[str, Sequence[str]] = PRECISIONS,
        max_tensor_parallel: int = 8,
    ) -> list[Candidate]:
        """Every configuration of the model on at most ``gpus`` GPUs that fits their memory while they are empty."""
        heads = architecture.hidden // architecture.head_dim
        options = list(
            space(
                model,
                self.gpu,
                gpus=gpus,
                heads=heads,
                layers=architecture.layers,
                precisions=precisions,
                max_tensor_parallel=max_tensor_parallel,
            )
        )
        if not options:
            return []
        runs = self._runs(architecture, options)
        seconds = _estimates(self.extrapolation.latency_s(architecture, runs, LEVEL))
        total = _estimates(self.extrapolation.memory_bytes(architecture, runs, LEVEL))
        found = []
        for i, option in enumerate(options):
            footprint = self._footprint(architecture, option)
            if footprint.layers_in(self.gpu_bytes) * option.pipeline_parallel < architecture.layers or not np.isfinite(
                seconds[i].value
            ):
                continue
            latency = seconds[i]
            hourly = option.gpus * self.usd_per_gpu_hour
            found.append(
                Candidate(
                    configuration=option,
                    layers=architecture.layers,
                    footprint=footprint,
                    latency_s=latency,
                    memory_bytes=total[i],
                    requests_per_s=Estimate(self.batch / latency.value, self.batch / latency.high, self.batch / latency.low),
                    usd_per_hour=hourly,
                    usd_per_mtok=_usd_per_mtok(hourly, latency, self.batch * self.output),
                    accuracy=relative_accuracy(model, option.precision, option.kv_precision),
                )
            )
        return found

    def _runs(self, architecture: Architecture, options: Sequence[Configuration]) -> Runs:
        return Runs.of(
            architecture,
            tp=[c.tensor_parallel for c in options],
            pp=[c.pipeline_parallel for c in options],
            precision=[c.precision for c in options],
            kv_bytes=[_KV_BYTES[c.kv_precision] for c in options],
            batch=self.batch,
            prompt=self.prompt,
            output=self.output,
        )

    def _footprint(self, architecture: Architecture, option: Configuration) -> Footprint:
        """Bytes per layer and besides, on each GPU; every GPU is charged with the embedding and its share of the head."""
        use, tp, pp = self.extrapolation.memory, option.tensor_parallel, option.pipeline_parallel
        one = self._runs(architecture, [option])
        layer = use.weights * architecture.layer_weights * float(one.weight_bytes[0]) / tp
        heads = -(-architecture.kv_heads // tp)
        tokens = self.batch * (self.prompt + self.output)
        kv = use.kv * tokens * 2 * heads * architecture.head_dim * _KV_BYTES[option.kv_precision]
        ends = use.weights * architecture.vocab * architecture.hidden * _ENDS_BYTES * (1.0 if pp > 1 else 1 + 1 / tp)
        return Footprint(layer + kv, use.context + (tp - 1) * use.rank + (pp > 1) * use.stage + ends)


def _estimates(interval: Interval) -> list[Estimate]:
    """The interval is stretched to the prediction where the left-out models were all off to the same side."""
    rows = zip(*(ends.tolist() for ends in interval), strict=True)
    return [Estimate(mean, min(low, mean), max(high, mean)) for mean, low, high in rows]


def _usd_per_mtok(usd_per_hour: float, latency: Estimate, tokens: int) -> Estimate:
    """Of an engine that is always busy."""
    value, low, high = (usd_per_hour / 3600 * seconds / tokens * 1e6 for seconds in (latency.value, latency.low, latency.high))
    return Estimate(value, low, high)
