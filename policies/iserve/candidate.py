"""What is known of a configuration before anything is deployed: latency, memory, throughput and cost, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass

from policies.iserve.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted value and its 95 % prediction interval."""

    value: float
    low: float
    high: float

    @classmethod
    def within(cls, value: float, error: float) -> Estimate:
        """The value, wrong by a factor of 1 + ``error`` at most either way."""
        return cls(value, value / (1 + error), value * (1 + error))

    @classmethod
    def exact(cls, value: float) -> Estimate:
        return cls(value, value, value)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of an engine on each of its GPUs, in bytes.

    ``layer_bytes``: of one layer of the model, its KV cache included. ``fixed_bytes``: of all else, on every GPU.
    """

    layer_bytes: float
    fixed_bytes: float

    def layers_in(self, free_bytes: float) -> int:
        """Layers that fit."""
        return max(0, int((free_bytes - self.fixed_bytes) // self.layer_bytes))

    def bytes(self, layers: int) -> float:
        return self.fixed_bytes + layers * self.layer_bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration and what is expected of it.

    ``latency_s``: of one request alone, to its last token. ``ttft_s``, ``tpot_s``: at the load that was asked for.
    ``requests_per_s``: what one engine can serve within the objective. ``memory_bytes``: over all its GPUs. ``usd_per_hour``: of
    all its GPUs. ``usd_per_mtok``: per million output tokens, at the load that was asked for. ``accuracy``: relative to 16 bits,
    ``None`` where nobody has published it. ``provenance``: of the step times that all of it rests on.
    """

    configuration: Configuration
    layers: int
    footprint: Footprint
    latency_s: Estimate
    memory_bytes: Estimate
    requests_per_s: Estimate
    usd_per_hour: float
    usd_per_mtok: Estimate | None = None
    ttft_s: Estimate | None = None
    tpot_s: Estimate | None = None
    accuracy: float | None = None
    replicas: int = 1
    provenance: str = ""

    @property
    def gpus(self) -> int:
        """Of all replicas."""
        return self.replicas * self.configuration.gpus
