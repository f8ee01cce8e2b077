"""Every deployment that could serve a demand, with what the fingerprints say of it: what a placer chooses from.

For engines with continuous batching. Nothing is simulated here: a model in thousands of configurations takes seconds. The steady
state (``policies.iserve.steady``) knows no bursts and no spread of lengths; simulate the few candidates that matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from policies.fingerprint import deployment_name
from policies.iserve.accuracy import relative_accuracy
from policies.iserve.candidate import Candidate, Footprint
from policies.iserve.configuration import Configuration, space
from policies.iserve.continuous import Build, estimate
from policies.iserve.steady import Engine, EngineLimits
from policies.latency import FingerprintLatency
from policies.placement import Demand
from traces.errors import InputError
from traces.fingerprints import load_fingerprint, read_fingerprint
from traces.hardware import GPUS, ModelShape, gpu, model
from traces.scenario.fleet import default_knobs

PRECISIONS: Mapping[str, Sequence[str]] = {"bf16": ("bf16", "fp8"), "fp8": ("bf16", "fp8"), "int4": ("bf16",)}
"""Precision of the weights → of the KV cache, unless the user names others."""

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
    own: Mapping[str, Path] | None = None,
) -> list[Candidate]:
    """The configurations of the demand's model on GPUs of each type (``gpus``: type → how many there are) that fit their memory.

    With a rate in the demand, each has as many replicas as its objective takes, and TTFT, TPOT and cost at that load; those
    that cannot meet the objective at all have one replica and ``inf`` where they fail. ``within_inventory``: without those that
    take more GPUs than there are. ``usd_per_gpu_hour``, ``accuracy``: the user's own, before list prices and published figures.
    ``own``: name of a deployment → file of the user's own fingerprint of it, before the library's.

    Raises:
        InputError: the model or a GPU type is unknown.
    """
    shape = model(demand.model)
    found = []
    for kind, count in gpus.items():
        gpu(kind)
        price = (usd_per_gpu_hour or {}).get(kind, GPUS[kind].usd_per_hour)
        for configuration in _options(shape, kind, count, precisions, max_pipeline_parallel):
            build = _build(configuration, shape, price, accuracy, (own or {}).get(name_of(configuration)))
            if build is None or build.limits.kv_tokens < demand.prompt_tokens + demand.output_tokens:
                continue
            candidate = estimate(build, demand)
            if not within_inventory or candidate.gpus <= count:
                found.append(candidate)
    return found


def _options(
    shape: ModelShape, kind: str, count: int, precisions: Mapping[str, Sequence[str]], stages: int
) -> Iterator[Configuration]:
    options = space(shape.name, kind, gpus=min(count, 8), heads=shape.heads, layers=shape.layers, precisions=precisions)
    return (option for option in options if option.pipeline_parallel <= stages)


def name_of(configuration: Configuration) -> str:
    """The deployment's name, as fingerprints have it."""
    c = configuration
    return deployment_name(
        c.model, c.gpu, c.tensor_parallel, c.precision, pipeline_parallel=c.pipeline_parallel, kv_precision=c.kv_precision
    )


def steady_of(configuration: Configuration, demand: Demand, own: Path | None = None) -> Engine:
    """One engine of the configuration under the demand's requests, in closed form, at any rate. ``own``: file of a fingerprint.

    Raises:
        InputError: it does not fit, or no fingerprint says how fast it is.
    """
    build = _build(configuration, model(configuration.model), 0.0, None, own)
    if build is None:
        raise InputError(f"{configuration}: does not fit, or no fingerprint says how fast it is; choose another")
    return Engine(build.latency, build.limits, prompt=demand.prompt_tokens, output=demand.output_tokens)


def _build(
    option: Configuration,
    shape: ModelShape,
    usd_per_gpu_hour: float,
    accuracy: Mapping[tuple[str, str], float] | None,
    own: Path | None,
) -> Build | None:
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
        fingerprint = (
            read_fingerprint(own)
            if own
            else load_fingerprint(
                option.model, option.gpu, tp, option.precision, pipeline_parallel=pp, kv_precision=option.kv_precision
            )
        )
    except InputError:
        return None
    return Build(
        configuration=option,
        layers=shape.layers,
        footprint=Footprint(layer_bytes=1.0, fixed_bytes=UTILIZATION * device.memory_bytes),
        latency=FingerprintLatency(fingerprint),
        limits=EngineLimits(seqs, tokens, kv_tokens),
        memory_bytes=UTILIZATION * device.memory_bytes * option.gpus,
        usd_per_hour=option.gpus * usd_per_gpu_hour,
        accuracy=relative_accuracy(option.model, option.precision, option.kv_precision, own=accuracy),
    )
