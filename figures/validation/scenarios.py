"""The scenarios whose simulation answers a measured row and the fingerprint of its deployment, or what the library lacks for it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from figures.validation.measured import ClosedLoop, Measured, Replay, Stages
from policies.fingerprint import Fingerprint
from traces.corrections import AS_ASSEMBLED
from traces.errors import InputError
from traces.fingerprints import available, load_fingerprint
from traces.hardware import GPUS, MODELS, gpu, model
from traces.scenario import Scenario

STAGE_S = 150.0
"""Seconds of each stage that are simulated: at least 150 requests even at one per second, and the same steady state."""
WARMUP_S = 30.0
BLOCK_TOKENS = 16
DEFAULT_UTILIZATION = 0.9
FRONTEND_S, FRONTEND_PER_TOKEN_S = 5e-3, 3e-6
"""Of the server's front end, by request and prompt token, where none was fitted: read off the fit part (see the docs)."""
_NO_NOISE = {"noise": 0, "steps": False}


def uncovered(row: Measured) -> str | None:
    """What the library lacks for a row: its model, GPU or fingerprint; ``None`` when it has all."""
    if row.model not in MODELS:
        return f"model {row.model} is not in the library"
    if row.gpu not in GPUS:
        return f"GPU {row.gpu} is not in the library"
    if _deployment(row) is None:
        return f"no fingerprint of {row.model} in {row.precisions[0]} on {row.tensor_parallel} × {row.gpu}"
    return None


def precision_of(row: Measured) -> str | None:
    """The precision of the fingerprint that answers a row, such as ``fp8+kv-fp8``."""
    found = _deployment(row)
    return None if found is None else found[0] + (f"+kv-{found[2]}" if found[2] != "bf16" else "")


def experts_spread(row: Measured) -> bool:
    """Whether the fingerprint that answers a row has each expert whole on one GPU, rather than sliced over all."""
    found = _deployment(row)
    return found is not None and found[1]


def fingerprint_of(row: Measured) -> Fingerprint:
    """The library's fingerprint of a covered row, as assembled."""
    found = _deployment(row)
    assert found is not None
    precision, spread, kv = found
    return load_fingerprint(
        row.model,
        row.gpu,
        row.tensor_parallel,
        precision,
        expert_parallel=spread,
        kv_precision=kv,
        async_scheduling=row.async_scheduling,
        engine=AS_ASSEMBLED,
    )


def scenarios(row: Measured, folder: Path, seed: int = 0, frontend_s: tuple[float, float] | None = None) -> list[Scenario]:
    """One scenario, or one per stage. ``folder``: where a replay's requests are written for the scenario to read. ``frontend_s``:
    by request and prompt token; default: the one for all. A replay ran inside the engine's process and has none.

    Raises:
        InputError: the simulator refuses the row, such as for want of memory.
    """
    base, per_token = frontend_s or (FRONTEND_S, FRONTEND_PER_TOKEN_S)
    front = {"frontend": {"base": base, "per_token": per_token}}
    match row.load:
        case ClosedLoop(concurrency, requests, shortest):
            lengths = {
                "prompt_tokens": _length(row.prompt_tokens, shortest),
                "output_tokens": _length(row.output_tokens, shortest),
            }
            entry = {"trace": lengths, "load": {"concurrency": concurrency}, "requests": requests}
            return [_scenario(row, seed, entry, **front)]
        case Stages(rates, seconds):
            fixed = {"prompt_tokens": row.prompt_tokens, "output_tokens": row.output_tokens}
            part = [min(s, STAGE_S) for s in seconds]
            return [
                _scenario(
                    row, seed, {"trace": fixed, "rate": f"{rate}/s"}, duration=f"{s}s", warmup=f"{min(WARMUP_S, s / 4)}s", **front
                )
                for rate, s in zip(rates, part, strict=True)
            ]
        case Replay():
            path = folder / f"{row.id}.csv"
            _write(row.load, path)
            return [_scenario(row, seed, {"trace": {"file": str(path), "format": "table"}})]


def _deployment(row: Measured) -> tuple[str, bool, str] | None:
    """Precision, whether experts are spread, and KV precision of the nearest fingerprint in the library.

    A mixture in block FP8 whose slices are not whole blocks is served with its experts spread, whatever the row says; where the
    library has no FP8 KV, that of bf16 answers for the time (the memory is reckoned in FP8).
    """
    known = set(available())
    for precision in row.precisions:
        for kv in dict.fromkeys((row.kv_precision, "bf16")):
            for spread in (True,) if row.expert_parallel else (False, True):
                suffix = f"+kv-{kv}" if kv != "bf16" else ""
                name = f"{row.model}/{row.gpu}/tp{row.tensor_parallel}{'ep' * spread}/{precision}{suffix}"
                if name in known:
                    return precision, spread, kv
    return None


def _scenario(row: Measured, seed: int, entry: dict[str, Any], **run: Any) -> Scenario:
    """A scenario knows bf16 and fp8 weights and bf16 KV only: the number of KV blocks is reckoned here, and given."""
    found = _deployment(row)
    assert found is not None
    lengths = row.load
    longest = row.prompt_tokens + row.output_tokens
    if isinstance(lengths, Replay):
        longest = max(p + o for p, o in zip(lengths.prompt_tokens, lengths.output_tokens, strict=True))
    kv_tokens = model(row.model).kv_tokens_capacity(
        gpu(row.gpu),
        row.tensor_parallel,
        found[0],
        utilization=row.knobs.get("gpu_memory_utilization", DEFAULT_UTILIZATION),
        max_batched_tokens=row.knobs.get("max_num_batched_tokens", 8192),
        max_seqs=row.knobs.get("max_num_seqs", 1024),
        kv_precision=row.kv_precision,
    )
    if kv_tokens < longest:
        raise InputError(f"{row.id}: a request of {longest} tokens does not fit the {kv_tokens} KV tokens; leave the row out")
    document = {
        "model": row.model,
        "fleet": {
            "gpu": row.gpu,
            "gpus": row.tensor_parallel,
            "tensor_parallel": row.tensor_parallel,
            "precision": "bf16" if found[0] == "bf16" else "fp8",
        },
        "engine": {"max_model_len": longest, "num_gpu_blocks_override": kv_tokens // BLOCK_TOKENS, **row.knobs},
        "workload": [{"name": "row", **entry}],
        "seed": seed,
        "sim": _NO_NOISE,
        "extrapolate": True,
        **run,
    }
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{row.id}: {'.'.join(map(str, first['loc']))}: {first['msg']}; leave the row out") from None


def _length(tokens: int, shortest: float) -> Any:
    return tokens if shortest == 1 else {"uniform": {"min": max(1, int(tokens * shortest)), "max": tokens}}


def _write(replay: Replay, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("arrival_s", "prompt_tokens", "output_tokens"))
        writer.writerows(zip(replay.arrival_s, replay.prompt_tokens, replay.output_tokens, strict=True))
