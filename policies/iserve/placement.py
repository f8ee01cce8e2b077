"""Load-aware placement: which GPUs a chosen configuration is put on, and what is done when it does not fit.

GPUs may hold several engines, whose memory adds up and whose load does too. A configuration takes TP × PP GPUs with room for its
share; stages may be uneven where rooms are. When the best configuration fits nowhere, the next best is tried.

Source: MaverIQ (arXiv 2501.13111; repository UT-SysML/MaverIQ, ``reassign_devices``, ``distribute_layers``): hybrid with a
threshold of 0.7, packing (1.0), least loaded first (0.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from policies.iserve.candidate import Candidate
from policies.iserve.configuration import split_layers

HYBRID, PACKING, LEAST_LOADED = 0.7, 1.0, 0.0
"""Thresholds of load up to which the most loaded GPU is preferred."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU. ``free_bytes``: memory that engines may still take. ``load``: share of the last window in which it was busy, or is
    expected to be.
    """

    id: str
    gpu: str
    free_bytes: float
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class Placed:
    """An engine on its GPUs: stage after stage, the tensor-parallel ranks of a stage side by side. ``layers``: of each stage."""

    candidate: Candidate
    devices: tuple[str, ...]
    layers: tuple[int, ...]

    @property
    def bytes_per_device(self) -> tuple[float, ...]:
        """Memory that it takes of each of its devices."""
        tp = self.candidate.configuration.tensor_parallel
        return tuple(self.candidate.footprint.bytes(layers) for layers in self.layers for _ in range(tp))

    def load_per_device(self, rate_per_s: float) -> float:
        """Share of time that each of its GPUs works for it, at a rate of requests: stages take turns."""
        configuration = self.candidate.configuration
        return rate_per_s * self.candidate.latency_s.value / configuration.pipeline_parallel


class Full(ValueError):
    """None of the configurations offered fits the memory that is left."""


def place(candidate: Candidate, devices: Sequence[Device], threshold: float = HYBRID) -> Placed | None:
    """The candidate on GPUs of its type, or ``None`` where it does not fit.

    GPUs with a load below ``threshold`` are taken from the most loaded one down, then the others from the least loaded one up.
    """
    configuration, footprint = candidate.configuration, candidate.footprint
    fitting = [d for d in devices if d.gpu == configuration.gpu and footprint.layers_in(d.free_bytes)]
    chosen = sorted(fitting, key=lambda d: (d.load >= threshold, -d.load if d.load < threshold else d.load, d.id))
    need = configuration.gpus
    if len(chosen) < need:
        return None
    for start in range(len(chosen) - need + 1):
        placed = _on(candidate, chosen[start : start + need])
        if placed is not None:
            return placed
    return _on(candidate, sorted(chosen, key=lambda d: -d.free_bytes)[:need])


def _on(candidate: Candidate, devices: Sequence[Device]) -> Placed | None:
    """On exactly these GPUs; ranks of a stage are those with like room, so that no rank's memory is wasted."""
    tp = candidate.configuration.tensor_parallel
    ordered = sorted(devices, key=lambda d: (-d.free_bytes, d.id)) if tp > 1 else list(devices)
    stages = [ordered[i : i + tp] for i in range(0, len(ordered), tp)]
    room = [min(candidate.footprint.layers_in(d.free_bytes) for d in stage) for stage in stages]
    layers = split_layers(candidate.layers, room)
    if layers is None or not all(layers):
        return None
    return Placed(candidate, tuple(d.id for d in ordered), layers)


def place_first(ranked: Iterable[Candidate], devices: Sequence[Device], threshold: float = HYBRID) -> Placed:
    """The best candidate that fits, in the order given.

    Raises:
        Full: none does.
    """
    for candidate in ranked:
        placed = place(candidate, devices, threshold)
        if placed is not None:
            return placed
    raise Full("no configuration fits the free memory of the GPUs; free some, or offer lower precisions")


def taken(devices: Sequence[Device], placed: Placed, rate_per_s: float = 0.0) -> list[Device]:
    """The devices after the engine has been put on them and serves so many requests per second."""
    use = dict(zip(placed.devices, placed.bytes_per_device, strict=True))
    load = placed.load_per_device(rate_per_s)
    return [replace(d, free_bytes=d.free_bytes - use[d.id], load=min(1.0, d.load + load)) if d.id in use else d for d in devices]


def place_all(
    demands: Sequence[tuple[Sequence[Candidate], float]], devices: Sequence[Device], threshold: float = HYBRID
) -> list[Placed | None]:
    """Models one after the other, each as (candidates best first, requests per second); ``None``: it fits nowhere any more."""
    answer: list[Placed | None] = []
    left = list(devices)
    for ranked, rate in demands:
        try:
            placed = place_first(ranked, left, threshold)
        except Full:
            answer.append(None)
            continue
        left = taken(left, placed, rate)
        answer.append(placed)
    return answer
