"""Today's engine: continuous batching, estimated in closed form from its step times (``policies.iserve.steady``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from policies.fingerprint import Provenance
from policies.iserve.candidate import Candidate, Estimate, Footprint
from policies.iserve.configuration import Configuration
from policies.iserve.steady import Engine, EngineLimits, Steady
from policies.latency import LatencyModel, StepShape
from policies.placement import Demand
from policies.types import SLO

ERROR: Mapping[Provenance, float] = {"measured": 0.10, "assembled": 0.35, "end-to-end": 0.25, "analytic": 0.75}
"""Half-width of the 95 % interval of a predicted time, as a factor − 1, by where the fingerprint is from (docs/validation.md)."""
UNKNOWN = 0.75
"""The same where nobody knows where the step times are from."""


@dataclass(frozen=True, slots=True)
class Build:
    """What is known of one engine of a configuration. ``usd_per_hour``: of all its GPUs. ``memory_bytes``: on all of them."""

    configuration: Configuration
    layers: int
    footprint: Footprint
    latency: LatencyModel
    limits: EngineLimits
    memory_bytes: float
    usd_per_hour: float
    accuracy: float | None = None

    @property
    def provenance(self) -> Provenance | None:
        """Of the fingerprint behind the step times."""
        fingerprint = getattr(self.latency, "fingerprint", None)
        return None if fingerprint is None else fingerprint.provenance

    @property
    def error(self) -> float:
        """Of its step times, as ``ERROR`` has it."""
        return UNKNOWN if self.provenance is None else ERROR[self.provenance]


def estimate(build: Build, demand: Demand, *, replicas: int | None = None, headroom: float = 1.0) -> Candidate:
    """The build under a demand: latency, TTFT, TPOT, cost and capacity, each with its interval.

    ``replicas``: engines that share the load; default: as many as it takes to stay below ``headroom`` of what each can carry
    within the objective, and one where no number of them does. What cannot be kept is ``inf``.
    """
    prompt, output, slo, most = demand.prompt_tokens, demand.output_tokens, demand.slo, float("inf")
    engine = Engine(build.latency, build.limits, prompt=prompt, output=output)
    each = engine.capacity(ttft_s=slo.ttft_s or most, tpot_s=slo.tpot_s or most)
    if replicas is None:
        replicas = max(1, math.ceil(demand.rate_per_s / (each * headroom))) if demand.rate_per_s and each else 1
    rate = (demand.rate_per_s or each) / replicas
    state = engine.at(rate)
    error = build.error
    return Candidate(
        configuration=build.configuration,
        layers=build.layers,
        footprint=build.footprint,
        latency_s=Estimate.within(_alone_s(build.latency, prompt, output), error),
        memory_bytes=Estimate.exact(build.memory_bytes),
        requests_per_s=_capacity(engine, slo, each, error),
        usd_per_hour=build.usd_per_hour * replicas,
        usd_per_mtok=_cost(build.usd_per_hour, rate * output, state, error),
        ttft_s=Estimate.within(float(state.ttft_s[0]), error),
        tpot_s=Estimate.within(float(state.tpot_s[0]), error),
        accuracy=build.accuracy,
        replicas=replicas,
        provenance=build.provenance or "",
    )


def _capacity(engine: Engine, slo: SLO, each: float, error: float) -> Estimate:
    """The rate within the objectives, if steps take 1 + ``error`` times as long as predicted, or as much less: then objectives and
    rates are as if time ran at another pace. Near the fastest that an engine can be, a small error decides everything.
    """
    most = float("inf")

    def at(pace: float) -> float:
        return pace * engine.capacity(ttft_s=(slo.ttft_s or most) * pace, tpot_s=(slo.tpot_s or most) * pace)

    return Estimate(each, min(each, at(1 / (1 + error))), max(each, at(1 + error)))


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
