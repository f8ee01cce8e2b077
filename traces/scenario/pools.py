"""The engines of a fleet, pool by pool, with everything resolved that a world needs to build them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from policies.seating import Seat
from policies.types import Role
from traces.hardware import GPUS, ModelShape, gpu, model
from traces.scenario.document import nearest
from traces.scenario.fields import RULES_BROKEN
from traces.scenario.fleet import Engine, Pool, fit_faults
from traces.scenario.sharing import believed_slowdown, beside, share_faults

if TYPE_CHECKING:
    from traces.scenario import Scenario


@dataclass(frozen=True, slots=True)
class EnginePool:
    """One pool. ``first``: index of its first engine in the fleet. ``start_up_s``: of an engine, from nothing to serving.

    ``kv_token_bytes``: KV of one token on all GPUs of an engine. ``link_bytes_s``: network bandwidth of all of them.
    ``beside``: factors on its steps, as measured, by the pool of an engine on the same GPU. ``slowdown``: as believed, of all that
    share its GPU.
    """

    name: str
    first: int
    hardware: Pool
    model: str
    engine: Engine
    kv_blocks: int
    start_up_s: float
    kv_token_bytes: int
    link_bytes_s: float
    beside: Mapping[str, float]
    slowdown: float

    @property
    def shape(self) -> ModelShape:
        return model(self.model)

    @property
    def role(self) -> Role:
        return Role(self.hardware.role or Role.BOTH)

    @property
    def engines(self) -> range:
        """Indices of its engines."""
        return range(self.first, self.first + self.hardware.engines)

    @property
    def gpus_per_engine(self) -> int:
        return self.hardware.gpus_per_engine

    @property
    def seat(self) -> Seat:
        """Of each of its engines."""
        pool = self.hardware
        share = 1 / pool.engines_per_gpu
        return Seat(
            gpu=pool.gpu,
            tensor_parallel=pool.tensor_parallel,
            pipeline_parallel=pool.pipeline_parallel,
            precision=pool.precision,
            kv_precision=pool.kv_precision or "bf16",
            memory_bytes=self.engine.gpu_memory_utilization * gpu(pool.gpu).memory_bytes * pool.gpus_per_engine * share,
            start_up_s=self.start_up_s,
            usd_per_gpu_hour=pool.price_usd_per_gpu_hour,
            share=share,
        )

    @property
    def window(self) -> int:
        """Prompt plus output of a request at most, in tokens."""
        return self.engine.max_model_len or self.shape.max_context

    @property
    def kv_tokens(self) -> int:
        """KV memory of an engine."""
        return self.kv_blocks * self.engine.block_size

    def parked(self, index: int) -> bool:
        """Whether an engine is parked at the start: the last ones of the pool are."""
        return index >= self.engines.stop - (self.hardware.parked or 0)


def resolve(scenario: Scenario) -> tuple[EnginePool, ...]:
    """All pools of a scenario that has been found sound."""
    resolved, first = [], 0
    for i, pool in enumerate(scenario.declared_pools):
        engine, name = _engine(scenario, pool), pool.model or scenario.model
        shape, tensor_parallel = model(name), pool.tensor_parallel
        weights = shape.weight_bytes(tensor_parallel, pool.precision, pipeline_parallel=pool.pipeline_parallel)
        bandwidth = scenario.kv_transfer.bandwidth_bytes_s if scenario.kv_transfer is not None else float("inf")
        resolved.append(
            EnginePool(
                name=pool.name or f"pool{i}",
                first=first,
                hardware=pool,
                model=name,
                engine=engine,
                kv_blocks=engine.kv_blocks(shape, pool),
                start_up_s=pool.start_up_s(weights),
                kv_token_bytes=tensor_parallel
                * shape.kv_bytes_per_token(tensor_parallel, kv_precision=pool.kv_precision or "bf16"),
                link_bytes_s=bandwidth * pool.gpus_per_engine,
                beside=beside(scenario, pool.name or f"pool{i}"),
                slowdown=believed_slowdown(scenario, i),
            )
        )
        first += pool.engines
    return tuple(resolved)


def _engine(scenario: Scenario, pool: Pool) -> Engine:
    """The scenario's engine with the pool's own knobs."""
    if pool.engine is None:
        return scenario.engine
    own = pool.engine.model_dump(by_alias=True, exclude_none=True)
    return Engine.model_validate(scenario.engine.model_dump(by_alias=True, exclude_none=True) | own)


def pool_faults(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """What stops vLLM from starting the pools' models, and what does not go together."""
    pools = scenario.declared_pools
    several = isinstance(scenario.declared, tuple)
    for i, pool in enumerate(pools):
        where = f"fleet.{i}" if several else "fleet"
        try:
            engine = _engine(scenario, pool)
        except ValidationError as error:
            for detail in error.errors():
                for key, text in detail["ctx"]["faults"] if detail["type"] == RULES_BROKEN else ():
                    yield f"{where}.engine.{key}", text
            continue
        knobs = "engine" if not several else f"{where}.engine"
        yield from fit_faults(pool.model or scenario.model, pool, engine, where, knobs)
        yield from share_faults(scenario, pool, engine, where)
        if engine.speculative is not None and (told := engine.speculative.drafters) and "" not in told:
            for entry in scenario.workload:
                if entry.name not in told:
                    yield f"{knobs}.speculative.drafter", f"names none for `{entry.name}`; give one for every workload entry"
        if engine.speculative is not None and engine.speculative.tree_width > 1 and pool.pipeline_parallel > 1:
            yield f"{knobs}.speculative.tree_width", "is simulated on one pipeline stage; set 1, or pipeline_parallel: 1"
        for what, on, off in (
            ("speculative", engine.speculative is not None, "turn that off"),
            ("async_scheduling", engine.async_scheduling, "turn that off"),
            ("pipeline_parallel", pool.pipeline_parallel > 1, "set that to 1"),
        ):
            if pool.role in ("prefill", "decode") and on:
                yield f"{where}.role", f"is not simulated together with {what}; {off} for this pool, or leave out the role"
        for j, other in enumerate(pools[:i]):
            if pool.name is not None and pool.name == other.name:
                yield f"{where}.name", f"`{pool.name}` is the name of another pool too; give each its own"
            if pool.gpu == other.gpu and pool.price_usd_per_gpu_hour != other.price_usd_per_gpu_hour:
                yield (
                    f"{where}.usd_per_gpu_hour",
                    f"differs from that of fleet[{j}], which has the same GPUs; give one price per GPU type",
                )
    yield from _role_faults(scenario)
    served = {pool.model or scenario.model for pool in pools}
    for i, entry in enumerate(scenario.workload):
        if (name := entry.model or scenario.model) not in served:
            yield (
                f"workload.{i}.model",
                f"no pool of the fleet serves {name}; give one `model: {name}`, or name one of {', '.join(sorted(served))}",
            )


def inventory_faults(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """What is up at the start must fit the GPUs that there are, and so must any one engine."""
    limit = scenario.inventory or {}
    used: dict[str, float] = {}
    for i, pool in enumerate(scenario.declared_pools):
        up = pool.engines - (pool.parked or 0)
        used[pool.gpu] = used.get(pool.gpu, 0) + up * pool.gpus_per_engine / pool.engines_per_gpu
        if pool.gpus_per_engine > limit.get(pool.gpu, pool.gpus_per_engine):
            key = f"fleet.{i}.tensor_parallel" if isinstance(scenario.declared, tuple) else "fleet.tensor_parallel"
            yield key, f"an engine takes {pool.gpus_per_engine} {pool.gpu}, and the inventory has {limit[pool.gpu]}; lower it"
    for name, count in limit.items():
        if name not in GPUS:
            yield f"inventory.{name}", f"is not a known GPU; {nearest(name, list(GPUS))}"
        elif name not in used:
            yield f"inventory.{name}", f"no pool of the fleet is on {name}; add one, or remove it"
        elif used[name] > count + 1e-9:
            yield (
                f"inventory.{name}",
                f"{used[name]:g} {name} are in use at the start, and there are {count}; park more engines (`parked:`), or raise it",
            )


def _role_faults(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """A prefill engine needs a decode engine to hand over to, and the other way round."""
    roles: dict[str, set[str]] = {}
    for pool in scenario.declared_pools:
        roles.setdefault(pool.model or scenario.model, set()).add(pool.role or "both")
    for name, there in roles.items():
        for role, needs in (("prefill", "decode"), ("decode", "prefill")):
            if role in there and needs not in there:
                yield "fleet", f"{name} has {role} engines and no {needs} engines; add a pool with `role: {needs}`"
    if scenario.kv_transfer is not None and not any({"prefill", "decode"} & there for there in roles.values()):
        yield "kv_transfer", "is between prefill and decode engines, and there are none; give pools a `role:`, or remove it"
