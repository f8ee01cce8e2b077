"""Engines that share GPUs: what a scenario may ask for, and by how much they slow each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from policies.interference import TIME_SLICED, slowdown
from traces.scenario.document import nearest

if TYPE_CHECKING:
    from traces.scenario import Scenario
    from traces.scenario.fleet import Engine, Pool


def name_of(scenario: Scenario, place: int) -> str:
    """Of a pool by its place in the fleet."""
    return scenario.declared_pools[place].name or f"pool{place}"


def beside(scenario: Scenario, pool: str) -> Mapping[str, float]:
    """By another pool's name: how much longer a step of the pool takes while an engine of the other is at work on its GPU."""
    return (scenario.interference or {}).get(pool, {})


def believed_slowdown(scenario: Scenario, place: int) -> float:
    """Of a pool's engines while every other place of their GPU is taken by the engine that disturbs them most, and it is at work.

    An engine with continuous batching is at work while it holds one request, so nearly always under the load that it is meant for.
    """
    pool = scenario.declared_pools[place]
    if pool.engines_per_gpu == 1:
        return 1.0
    measured = beside(scenario, name_of(scenario, place))
    others = [name_of(scenario, i) for i, other in enumerate(scenario.declared_pools) if other.gpu == pool.gpu]
    worst = max(measured.get(other, TIME_SLICED) for other in others)
    return slowdown([worst] * (pool.engines_per_gpu - 1))


def share_faults(scenario: Scenario, pool: Pool, engine: Engine, where: str) -> Iterator[tuple[str, str]]:
    """What does not go together with a shared GPU in one pool."""
    if pool.engines_per_gpu == 1:
        return
    for what, on, remedy in (
        ("tensor_parallel", pool.gpus_per_engine > 1, "set that to 1"),
        ("role", pool.role in ("prefill", "decode"), "leave that out"),
        ("speculative", engine.speculative is not None, "turn that off"),
        ("async_scheduling", engine.async_scheduling, "turn that off"),
    ):
        if on:
            yield f"{where}.share", f"does not go with {what}; {remedy}, or give the engines whole GPUs"
    for other in scenario.declared_pools:
        if other.gpu == pool.gpu and other.engines_per_gpu != pool.engines_per_gpu:
            yield (
                f"{where}.share",
                f"differs between pools on {pool.gpu}, whose engines could then not take each other's places; give all the same",
            )
            return


def interference_faults(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Factors must be of engines that can be beside each other."""
    pools = scenario.declared_pools
    shared = [name_of(scenario, i) for i, pool in enumerate(pools) if pool.engines_per_gpu > 1]
    for name, factors in (scenario.interference or {}).items():
        for key in (name, *factors):
            if key not in shared:
                where = f"interference.{name}" if key == name else f"interference.{name}.{key}"
                yield (
                    where,
                    f"no pool `{key}` shares GPUs; {nearest(key, shared)}"
                    if shared
                    else "no pool shares GPUs; give some a `share:`",
                )
