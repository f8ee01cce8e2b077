"""What iServe is compared with: placements at 16 bits that do not look at intents.

Each returns engines on devices, as ``placement.place_all`` does, one list per model (a model may have replicas, or none).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from policies.iserve.candidate import Candidate
from policies.iserve.configuration import split_layers
from policies.iserve.placement import LEAST_LOADED, Device, Placed, place_all, taken

Placements = list[list[Placed]]
HALF = ("fp16", "bf16")


def half_precision(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those whose weights and KV cache have 16 bits."""
    return [c for c in candidates if c.configuration.precision in HALF and c.configuration.kv_precision in HALF]


def balanced_device_map(models: Sequence[Sequence[Candidate]], devices: Sequence[Device]) -> Placements:
    """Every model in 16 bits, its layers spread evenly over all GPUs as a pipeline; those that no longer fit are left out.

    Source: Hugging Face Accelerate, ``device_map="balanced"``.
    """
    left = list(devices)
    answer: Placements = []
    for candidates in models:
        whole = [
            c
            for c in half_precision(candidates)
            if c.configuration.tensor_parallel == 1 and c.configuration.pipeline_parallel == len(devices)
        ]
        placed = _on_all(whole[0], left) if whole else None
        answer.append([placed] if placed else [])
        if placed:
            left = taken(left, placed)
    return answer


def first_fit(models: Sequence[Sequence[Candidate]], devices: Sequence[Device]) -> Placements:
    """Every model in 16 bits on the fewest GPUs that hold it, on the first that have room."""
    ordered = [(sorted(half_precision(c), key=lambda x: (x.gpus, x.latency_s.value)), 0.0) for c in models]
    return [[placed] if placed else [] for placed in place_all(ordered, devices, threshold=1.0)]


def vidur_search(
    models: Sequence[Sequence[Candidate]], limits_s: Sequence[float], devices: Sequence[Device], rates: Sequence[float]
) -> Placements:
    """Every model in 16 bits in the configuration that serves the most requests per dollar within its latency limit.

    All configurations are tried, as a grid; those that keep no limit come last, the fastest first. Engines have their GPUs to
    themselves as long as there are any that nobody has; then the least loaded are shared.

    Source: Vidur-Search, MLSys '24, arXiv 2405.05465: the highest QPS per dollar under latency SLOs; estimates in place of its
    simulator.
    """

    def rank(candidate: Candidate, limit_s: float) -> tuple[bool, float, float]:
        within = candidate.latency_s.value <= limit_s
        per_dollar = candidate.requests_per_s.value / candidate.usd_per_hour if within else 0.0
        return not within, -per_dollar, candidate.latency_s.value

    ordered = [
        (sorted(half_precision(candidates), key=partial(rank, limit_s=limit)), rate)
        for candidates, limit, rate in zip(models, limits_s, rates, strict=True)
    ]
    return [[placed] if placed else [] for placed in place_all(ordered, devices, LEAST_LOADED)]


def alpaserve(
    models: Sequence[Sequence[Candidate]], rates: Sequence[float], devices: Sequence[Device], *, pipelines_only: bool = False
) -> Placements:
    """Groups of equally many GPUs, all models of a group split in the same way, replicas added greedily where load is unserved.

    Every group size that divides the GPUs and every split of it is tried; the one that leaves the fewest models out, and of these
    the one with the least expected latency over all requests, wins (an M/D/1 queue per engine, no faster than its group's GPUs have
    time for; unserved requests count for ten times the worst latency). 16 bits throughout. ``pipelines_only``: only splits by
    layers, the variant with a star.

    Source: AlpaServe, OSDI '23, arXiv 2302.11665, Algorithms 1 and 2, with a queueing formula in place of its simulator.
    """
    best: tuple[tuple[int, float], Placements] | None = None
    for size in (1, 2, 4, 8):
        if len(devices) % size:
            continue
        groups = [list(devices[i : i + size]) for i in range(0, len(devices), size)]
        for stages in (1, 2, 4, 8):
            if size % stages or (pipelines_only and stages != size):
                continue
            options = [_split(c, size // stages, stages) for c in models]
            placements, cost = _greedy(options, rates, groups)
            rank = sum(not replicas for replicas in placements), cost
            if best is None or rank < best[0]:
                best = rank, placements
    assert best is not None
    return best[1]


def _split(candidates: Sequence[Candidate], tensor_parallel: int, stages: int) -> Candidate | None:
    """That split, or a pipeline over as many GPUs where the heads cannot be divided so."""
    known = {(c.configuration.tensor_parallel, c.configuration.pipeline_parallel): c for c in half_precision(candidates)}
    return known.get((tensor_parallel, stages)) or known.get((1, tensor_parallel * stages))


def _greedy(options: Sequence[Candidate | None], rates: Sequence[float], groups: list[list[Device]]) -> tuple[Placements, float]:
    """Adds the replica that lowers the expected latency most: first of models without one, where they fit, then where it helps."""
    placements: Placements = [[] for _ in options]
    where: list[list[int]] = [[] for _ in options]
    room = [list(group) for group in groups]
    cost = _expected(options, rates, where, len(groups))
    while True:
        found: tuple[float, int, int, Placed] | None = None
        homeless = [m for m, held in enumerate(where) if not held and options[m] is not None]
        homeless = [m for m in homeless if any(_on_all(options[m], group) for group in room)]  # type: ignore[arg-type]
        for m, option in enumerate(options):
            if option is None or (homeless and m not in homeless):
                continue
            for g, group in enumerate(room):
                if g in where[m] or (placed := _on_all(option, group)) is None:
                    continue
                where[m].append(g)
                after = _expected(options, rates, where, len(groups))
                where[m].pop()
                if (found is None and homeless) or after < (found[0] if found else cost) - 1e-9:
                    found = after, m, g, placed
        if found is None:
            return placements, cost
        cost, m, g, placed = found
        where[m].append(g)
        placements[m].append(placed)
        room[g] = taken(room[g], placed)


def _expected(options: Sequence[Candidate | None], rates: Sequence[float], where: Sequence[Sequence[int]], groups: int) -> float:
    """Mean latency over all requests; each model's load is shared evenly by the groups that hold it."""
    busy = [0.0] * groups
    for option, rate, held in zip(options, rates, where, strict=True):
        for g in held:
            assert option is not None
            busy[g] += rate / len(held) * option.latency_s.value / option.configuration.pipeline_parallel
    worst = 10 * max((o.latency_s.value for o in options if o is not None), default=1.0)
    total = 0.0
    for option, rate, held in zip(options, rates, where, strict=True):
        if option is None or not held:
            total += rate * worst
            continue
        own = rate / len(held) * option.latency_s.value
        loads = [max(busy[g], own) for g in held]
        waits = [load / (2 * (1 - load)) if load < 1 else float("inf") for load in loads]
        total += rate * sum(min(worst, option.latency_s.value * (1 + wait)) for wait in waits) / len(held)
    return total / max(sum(rates), 1e-9)


def _on_all(candidate: Candidate, devices: Sequence[Device]) -> Placed | None:
    """On all of these GPUs, in their order."""
    tp = candidate.configuration.tensor_parallel
    stages = [devices[i : i + tp] for i in range(0, len(devices), tp)]
    room = [min(candidate.footprint.layers_in(d.free_bytes) for d in stage) for stage in stages]
    layers = split_layers(candidate.layers, room)
    if layers is None or not all(layers) or candidate.configuration.gpus != len(devices):
        return None
    return Placed(candidate, tuple(d.id for d in devices), layers)
