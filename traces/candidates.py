"""Every deployment that could serve a demand, with what the fingerprints say of it: what a placer chooses from.

For engines with continuous batching. Nothing is simulated here: a model in thousands of configurations takes seconds. The steady
state (``policies.iserve.steady``) knows no bursts and no spread of lengths; simulate the few candidates that matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from policies.fingerprint import Provenance
from policies.iserve.accuracy import relative_accuracy
from policies.iserve.candidate import Candidate, Estimate, Footprint
from policies.iserve.configuration import Configuration, space
from policies.iserve.steady import Engine, EngineLimits, Steady
from policies.latency import FingerprintLatency, LatencyModel, StepShape
from policies.types import Demand
from traces.errors import InputError
from traces.fingerprints import load_fingerprint
from traces.hardware import GPUS, ModelShape, gpu, model
from traces.scenario.fleet import default_knobs

PRECISIONS: Mapping[str, Sequence[str]] = {"bf16": ("bf16", "fp8"), "fp8": ("bf16", "fp8"), "int4": ("bf16",)}
"""Precision of the weights → of the KV cache, unless the user names others."""

ERROR: Mapping[Provenance, float] = {"measured": 0.10, "assembled": 0.35, "end-to-end": 0.25, "analytic": 0.75}
"""Half-width of the 95 % interval of a predicted time, as a factor − 1, by where the fingerprint is from (docs/validation.md)."""

UTILIZATION = 0.92


def candidates(
    demand: Demand,
    gpus: Mapping[str, int],
    *,
    precisions: Mapping[str, Sequence[str]] = PRECISIONS,
    max_pipeline_parallel: int = 1,
    usd_per_gpu_hour: Mapping[str, float] | None = None,
    accuracy: Mapping[tuple[str, str], float] | None = None,
    within_inventory: bool = True,
) -> list[Candidate]:
    """The configurations of the demand's model on GPUs of each type (``gpus``: type → how many there are) that fit their memory.

    With a rate in the demand, each has as many replicas as its objective takes, and TTFT, TPOT and cost at that load; those
    that cannot meet the objective at all have one replica and ``inf`` where they fail. ``within_inventory``: without those that
    take more GPUs than there are. ``usd_per_gpu_hour``, ``accuracy``: the user's own, before list prices and published figures.

    Raises:
        InputError: the model or a GPU type is unknown.
    """
    shape = model(demand.model)
    found = []
    for kind, count in gpus.items():
        gpu(kind)
        price = (usd_per_gpu_hour or {}).get(kind, GPUS[kind].usd_per_hour)
        for configuration in _options(shape, kind, count, precisions, max_pipeline_parallel):
            candidate = _candidate(configuration, shape, demand, price, accuracy)
            if candidate is not None and (not within_inventory or candidate.gpus <= count):
                found.append(candidate)
    return found


def _options(
    shape: ModelShape, kind: str, count: int, precisions: Mapping[str, Sequence[str]], stages: int
) -> Iterator[Configuration]:
    options = space(shape.name, kind, gpus=min(count, 8), heads=shape.heads, layers=shape.layers, precisions=precisions)
    return (option for option in options if option.pipeline_parallel <= stages)


def _candidate(
    option: Configuration,
    shape: ModelShape,
    demand: Demand,
    usd_per_gpu_hour: float,
    accuracy: Mapping[tuple[str, str], float] | None,
) -> Candidate | None:
    """``None``: it does not fit, or no fingerprint says how fast it is."""
    device = gpu(option.gpu)
    knobs = default_knobs({}, device)
    seqs, tokens = knobs["max_num_seqs"], knobs["max_num_batched_tokens"]
    tp, pp = option.tensor_parallel, option.pipeline_parallel
    try:
        kv_tokens = shape.kv_tokens_capacity(
            device,
            tp,
            option.precision,
            utilization=UTILIZATION,
            max_batched_tokens=tokens,
            max_seqs=seqs,
            pipeline_parallel=pp,
            kv_precision=option.kv_precision,
        )
        fingerprint = load_fingerprint(
            option.model, option.gpu, tp, option.precision, pipeline_parallel=pp, kv_precision=option.kv_precision
        )
    except InputError:
        return None
    prompt, output = demand.prompt_tokens, demand.output_tokens
    if kv_tokens < prompt + output:
        return None
    latency, most, slo = FingerprintLatency(fingerprint), float("inf"), demand.slo
    engine = Engine(latency, EngineLimits(seqs, tokens, kv_tokens), prompt=prompt, output=output)
    each = engine.capacity(ttft_s=slo.ttft_s or most, tpot_s=slo.tpot_s or most)
    replicas = max(1, math.ceil(demand.rate_per_s / each)) if demand.rate_per_s and each else 1
    rate = (demand.rate_per_s or each) / replicas
    state = engine.at(rate)
    error = ERROR[fingerprint.provenance]
    hourly = option.gpus * usd_per_gpu_hour
    return Candidate(
        configuration=option,
        layers=shape.layers,
        footprint=Footprint(layer_bytes=1.0, fixed_bytes=UTILIZATION * device.memory_bytes),
        latency_s=Estimate.within(_alone_s(latency, prompt, output), error),
        memory_bytes=Estimate.exact(UTILIZATION * device.memory_bytes * option.gpus),
        requests_per_s=Estimate(each, each / (1 + error), each * (1 + error)),
        usd_per_hour=hourly * replicas,
        usd_per_mtok=_cost(hourly, rate * output, state, error),
        ttft_s=Estimate.within(float(state.ttft_s[0]), error),
        tpot_s=Estimate.within(float(state.tpot_s[0]), error),
        accuracy=relative_accuracy(option.model, option.precision, option.kv_precision, own=accuracy),
        replicas=replicas,
        provenance=fingerprint.provenance,
    )


def _alone_s(latency: LatencyModel, prompt: float, output: float) -> float:
    """One request to its last token on an empty engine."""
    size = int(prompt)
    first = latency.seconds(StepShape(prefill_tokens=size, prefill_attention=size * size / 2, prefill_seqs=1))
    step = latency.seconds(StepShape(decode_seqs=1, decode_context=int(prompt + output / 2)))
    return first + max(output - 1, 0) * step


def _cost(usd_per_hour: float, tokens_per_s: float, state: Steady, error: float) -> Estimate:
    if not math.isfinite(state.tpot_s[0]) or not tokens_per_s:
        return Estimate.exact(float("inf"))
    return Estimate.within(usd_per_hour / 3600 / tokens_per_s * 1e6, error)
