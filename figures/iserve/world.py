"""MaverIQ's world: eight RTX A6000, engines with a fixed batch, requests by the minute of the Azure traces.

Latency and memory are those of ``policies.extrapolation`` (1.4 % mean error against MaverIQ's measurements; docs/extrapolation.md),
so that no measured table is needed. Where the paper does not tell, the choice is stated here:

- the *large* set: Llama-2 70B and 13B, Falcon 40B and 7B; the *regular* set of eight: the six models, and 7B and GPT-J again;
  21: the six models over and over
- arrivals: the conversation trace's rate per minute × scale, compressed two to one as there (30-second bins), Poisson within
- every request: 923 prompt tokens, 20 output tokens, one of the models at random
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.extrapolation import MAVERIQ_MODELS, RTX_A6000_EXTRAPOLATION
from policies.intent import Intent
from policies.iserve.baselines import Placements, alpaserve, balanced_device_map, vidur_search
from policies.iserve.candidate import Candidate
from policies.iserve.fixed_batch import PRECISIONS, FixedBatch
from policies.iserve.intents import ranked
from policies.iserve.placement import HYBRID, Device, Placed, place_all
from policies.streams import generator
from sim.fixedbatch import FixedBatchEngine, Served, serve

Floats = NDArray[np.float64]

GPUS = 8
GPU_BYTES = 47.4 * 2**30
USD_PER_GPU_HOUR = 0.8
"""MaverIQ's price (repository UT-SysML/MaverIQ)."""

ENGINE = FixedBatch(RTX_A6000_EXTRAPOLATION, "a6000", GPU_BYTES, USD_PER_GPU_HOUR)
PLAIN = dict.fromkeys(("fp16", "int8", "int4"), ("fp16",))

LARGE = ("llama-2-70b", "llama-2-13b", "falcon-40b", "falcon-7b")
REGULAR = (*MAVERIQ_MODELS, "llama-2-7b", "gptj-6b")
TWENTY_ONE = tuple(list(MAVERIQ_MODELS) * 4)[:21]

SLO_BASE_S: Mapping[str, tuple[float, float]] = {
    "falcon-7b": (0.1208, 0.02286),
    "falcon-40b": (0.6241, 0.12416),
    "gptj-6b": (0.096, 0.02006),
    "llama-2-7b": (0.1181, 0.02263),
    "llama-2-13b": (0.2068, 0.0416),
    "llama-2-70b": (1.0318, 0.20432),
}
"""TTFT and TPOT of each model's default deployment at 16 bits, from which MaverIQ's latency SLOs are made."""

PER_MINUTE = 19_366 / 59.0
"""Requests per minute of the Azure 2023 conversation trace."""
OUTPUT_TOKENS = 20


def slo_s(model: str, scale: float) -> float:
    """The latency SLO of a model: ``scale`` × (TTFT + TPOT × output)."""
    ttft, tpot = SLO_BASE_S[model]
    return scale * (ttft + tpot * OUTPUT_TOKENS)


def offered(model: str) -> list[Candidate]:
    """Every configuration of a model on the eight GPUs."""
    llama = model.startswith("llama")
    return ENGINE.candidates(model, MAVERIQ_MODELS[model], gpus=GPUS, precisions=PRECISIONS if llama else PLAIN)


def devices() -> list[Device]:
    return [Device(f"gpu{i}", "a6000", GPU_BYTES) for i in range(GPUS)]


@dataclass(frozen=True)
class Arrivals:
    """Requests in order: when, and of which model (an index)."""

    time_s: Floats
    model: NDArray[np.int64]

    @property
    def seconds(self) -> float:
        return float(self.time_s[-1]) if len(self.time_s) else 0.0


def arrivals(models: Sequence[str], scale: float, seed: int, minutes: int = 30) -> Arrivals:
    """Poisson within bins of 30 s, each of which holds a minute of the trace; the rate of a minute varies by a tenth."""
    draw = generator(seed, f"maveriq {scale}")
    bins = draw.poisson(np.maximum(draw.normal(PER_MINUTE * scale, 0.1 * PER_MINUTE * scale, minutes), 0.0))
    times = np.sort(np.concatenate([30.0 * (i + draw.random(n)) for i, n in enumerate(bins)]))
    return Arrivals(times, draw.integers(0, len(models), len(times)))


def placed_by(system: str, models: Sequence[str], rate_per_s: float, intent: Intent | None = None) -> Placements:
    """The engines of a system under a total rate, spread evenly over the models."""
    candidates = {model: offered(model) for model in set(models)}
    each = [candidates[model] for model in models]
    rates = [rate_per_s / len(models)] * len(models)
    if system == "AlpaServe":
        return alpaserve(each, rates, devices())
    if system == "AlpaServe*":
        return alpaserve(each, rates, devices(), pipelines_only=True)
    if system == "Vidur-Search":
        return vidur_search(each, [slo_s(model, 2.5) for model in models], devices(), rates)
    if system == "Accelerate":
        return balanced_device_map(each, devices())
    demands = [(ranked(c, intent or Intent("min_latency")), rate) for c, rate in zip(each, rates, strict=True)]
    return [[placed] if placed else [] for placed in place_all(demands, devices(), HYBRID)]


def run(placements: Placements, asked: Arrivals) -> Served:
    """The requests on those engines."""
    engines = [_engine(model, placed) for model, replicas in enumerate(placements) for placed in replicas]
    return serve(engines, GPUS, asked.time_s, asked.model, np.full(len(asked.time_s), OUTPUT_TOKENS))


def _engine(model: int, placed: Placed) -> FixedBatchEngine:
    used = [int(device.removeprefix("gpu")) for device in placed.devices]
    stages = placed.candidate.configuration.pipeline_parallel
    return FixedBatchEngine(model, placed.candidate.latency_s.value, used, 1.0 / stages)


def attained(served: Served, asked: Arrivals, models: Sequence[str], scale: float) -> float:
    """Share of all requests within their model's SLO; those that nobody served missed it."""
    limits = np.array([slo_s(model, scale) for model in models])[asked.model]
    return float(np.mean(served.end_s - asked.time_s <= limits)) if len(limits) else float("nan")
