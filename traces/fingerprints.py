"""The library of fingerprints: one JSON file per common deployment in ``traces/fingerprints/``, data sheets for all others.

Where a system was measured while serving (``traces.corrections``), its end-to-end correction is on top. Without an engine version,
that is the newest one that schedules as asked; ``name@0.18.0`` names another, ``name@assembled`` leaves the correction out.
"""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from policies.curve import Lines
from policies.fingerprint import Fingerprint, deployment_name
from traces.errors import InputError
from traces.hardware import GPUS, MODELS, WEIGHT_BYTES
from traces.hardware.shapes import BF16

if TYPE_CHECKING:
    from traces.assembly.deployment import Deployment
    from traces.scenario.fleet import Pool

FOLDER = Path(__file__).with_name("fingerprints")
_HOST_S = 1e-3
SYNCHRONOUS_HOST_S = 0.7e-3
SYNCHRONOUS_HOST_PER_REQUEST_S = 40e-6
"""What serving with vLLM 0.12 adds to steps (Qwen3-32B on H100 at tensor parallelism 2 and 8 alike, 8 to 128 requests)."""


def file_name(name: str) -> str:
    """The file of the fingerprint of that name: ``llama-3.1-8b/h200/tp1/bf16`` lies in ``llama-3.1-8b.h200.tp1.bf16.json``."""
    return name.replace("/", ".") + ".json"


def available() -> list[str]:
    """The names of all fingerprints that have a file, as ``model/gpu/tpN/precision``."""
    return sorted(path.stem[::-1].replace(".", "/", 3)[::-1] for path in FOLDER.glob("*.json"))


def load_fingerprint(
    model: str,
    gpu: str,
    tensor_parallel: int,
    precision: str = "bf16",
    *,
    pipeline_parallel: int = 1,
    expert_parallel: bool = False,
    kv_precision: str = "bf16",
    async_scheduling: bool = True,
    engine: str | None = None,
) -> Fingerprint:
    """The fingerprint of one deployment: the library's file, or else an analytic one from data sheets.

    ``async_scheduling``: the engine plans a step while the one before it runs, as vLLM does by default from 0.14 on. ``engine``:
    the version whose end-to-end correction is asked for, or ``AS_ASSEMBLED``; default: the newest that was measured.

    Raises:
        InputError: the model or GPU is unknown, the model cannot be split or quantised so, there is only a file for others, or no
            correction for that version.
    """
    from traces.assembly.deployment import Deployment

    deployment = Deployment.named(
        model,
        gpu,
        tensor_parallel,
        precision,
        pipeline_parallel=pipeline_parallel,
        expert_parallel=expert_parallel,
        kv_precision=kv_precision,
    )
    return _served(_assembled(deployment), async_scheduling, engine)


def _served(fingerprint: Fingerprint, async_scheduling: bool | None, engine: str | None) -> Fingerprint:
    """With the correction of that engine version. ``async_scheduling``: ``None`` = as that version does."""
    from traces.corrections import AS_ASSEMBLED, system_of, systems_of

    if engine is None:
        systems = [one for one in systems_of(fingerprint) if one.async_scheduling is (async_scheduling is not False)]
        system = systems[-1] if systems else None
    else:
        system = None if engine == AS_ASSEMBLED else system_of(fingerprint, engine)
    if async_scheduling is False or (async_scheduling is None and system is not None and not system.async_scheduling):
        fingerprint = scheduled_synchronously(fingerprint)
    return fingerprint if system is None else system.applied(fingerprint)


def _assembled(deployment: Deployment) -> Fingerprint:
    from traces.assembly.pipeline import in_stages

    path = FOLDER / file_name(deployment.name)
    one_stage = dataclasses.replace(deployment, pipeline_parallel=1)
    if path.is_file():
        return read_fingerprint(path)
    if (path := FOLDER / file_name(one_stage.name)).is_file():
        return in_stages(read_fingerprint(path), deployment)
    return _analytic(deployment)


def pool_fingerprint(model: str, pool: Pool) -> Fingerprint:
    """The fingerprint of an engine of a scenario's pool that serves ``model``.

    Raises:
        InputError: as ``load_fingerprint``, or the pool's own file is not a valid fingerprint, or one of another deployment.
    """
    if pool.fingerprint is not None:
        return _own(pool.fingerprint, model, pool)
    return load_fingerprint(
        model,
        pool.gpu,
        pool.tensor_parallel,
        pool.precision,
        pipeline_parallel=pool.pipeline_parallel,
        expert_parallel=bool(pool.expert_parallel),
        kv_precision=pool.kv_precision or "bf16",
    )


def _own(path: str, model: str, pool: Pool) -> Fingerprint:
    """A pool's own fingerprint, which must be of what the pool is."""
    found = read_fingerprint(Path(path))
    wanted = deployment_name(
        model,
        pool.gpu,
        pool.tensor_parallel,
        pool.precision,
        pipeline_parallel=pool.pipeline_parallel,
        expert_parallel=bool(pool.expert_parallel),
        kv_precision=pool.kv_precision or "bf16",
    )
    if found.name != wanted:
        raise InputError(
            f"fleet.fingerprint: {path} is of {found.name}, and the pool is {wanted}; name a file of that, or change the pool"
        )
    return found


def named_fingerprint(name: str) -> Fingerprint:
    """The fingerprint of a name such as ``qwen3-235b-a22b/h200/tp8ep/fp8_block+kv-fp8``, or in the JSON file of that path.

    A name may end in an engine version, ``@0.18.0``, or in ``@assembled``.

    Raises:
        InputError: it is neither, or no correction for that version.
    """
    if name.endswith(".json"):
        return read_fingerprint(Path(name))
    deployment, _, engine = name.partition("@")
    return _served(_assembled(deployment_of(deployment)), None, engine or None)


def deployment_of(name: str) -> Deployment:
    """The deployment of a name such as ``llama-3.1-8b/h200/tp1/bf16``.

    Raises:
        InputError: it is no such name, or the model or GPU is unknown, or the model cannot be split or quantised so.
    """
    from traces.assembly.deployment import Deployment

    found = re.fullmatch(r"([^/]+)/([^/]+)/tp(\d+)(?:pp(\d+))?(ep)?/([^/+]+)(?:\+kv-(\w+))?", name)
    if found is None:
        raise InputError(f"{name}: is no fingerprint; write model/gpu/tpN/precision, such as {available()[0]}, or a .json file")
    model, gpu, shards, stages, spread, precision, kv = found.groups()
    return Deployment.named(
        model,
        gpu,
        int(shards),
        precision,
        pipeline_parallel=int(stages or 1),
        expert_parallel=spread is not None,
        kv_precision=kv or "bf16",
    )


def scheduled_synchronously(fingerprint: Fingerprint) -> Fingerprint:
    """The same deployment with an engine that plans each step after the one before it: host work is hidden no longer."""
    terms, decode = fingerprint.terms, fingerprint.terms.decode
    host = np.array(decode.requests) * SYNCHRONOUS_HOST_PER_REQUEST_S
    slower = Lines(decode.requests, tuple((np.array(decode.fixed) + host).tolist()), decode.per_context)
    return dataclasses.replace(
        fingerprint,
        terms=dataclasses.replace(terms, overhead=terms.overhead + SYNCHRONOUS_HOST_S, decode=slower),
        source=f"{fingerprint.source} Synchronous scheduling: + {SYNCHRONOUS_HOST_S * 1e3:g} ms per step "
        f"+ {SYNCHRONOUS_HOST_PER_REQUEST_S * 1e6:g} µs per decoding request of host work.",
    )


def _check_units(fingerprint: Fingerprint) -> None:
    """That one decoding request takes about as long as its weights take to read: terms in ms or µs are far off.

    Raises:
        ValueError: a hundred times as long, or too short for the memory; the largest term is named. Unknown models pass.
    """
    if fingerprint.model not in MODELS or fingerprint.gpu not in GPUS:
        return
    shape, terms = MODELS[fingerprint.model], fingerprint.terms
    weights = shape.other_weights * WEIGHT_BYTES.get(fingerprint.precision, BF16) / fingerprint.tensor_parallel
    least = weights / GPUS[fingerprint.gpu].hbm_bytes_s
    parts = {"overhead": terms.overhead, "gemm": terms.gemm.at(1), "experts": terms.experts.at(1), "decode": terms.decode.at(1, 1)}
    seconds, largest = sum(parts.values()), max(parts, key=lambda name: parts[name])
    if seconds > 100 * (least + _HOST_S) or (shape.experts is None and seconds < least):
        raise ValueError(
            f"a decode step of one request takes {seconds:.3g} s, of which terms.{largest} is {parts[largest]:.3g} s, and reading "
            f"its weights {least:.3g} s; terms are in seconds"
        )


def _analytic(deployment: Deployment) -> Fingerprint:
    from traces.assembly.analytic import analytic

    try:
        return analytic(deployment)
    except InputError as fault:
        known = [tuple(n.split("/")) for n in available()]
        model, gpu = deployment.model.name, deployment.gpu.name
        for prefix, depth in (((model, gpu), 4), ((model,), 2), ((), 1)):
            if found := sorted({"/".join(n[:depth]) for n in known if n[: len(prefix)] == prefix}):
                break
        raise InputError(f"fingerprint: none for {deployment.name} ({fault}); the library has {', '.join(found)}") from None


@cache
def read_fingerprint(path: Path) -> Fingerprint:
    """A fingerprint from its JSON file.

    Raises:
        InputError: the file is not a valid fingerprint.
    """
    try:
        fingerprint = Fingerprint.from_dict(json.loads(path.read_text(encoding="utf-8")))
        _check_units(fingerprint)
        return fingerprint
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a fingerprint's JSON file") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: not a fingerprint ({error}); make one with twinserve fingerprint fit") from None
