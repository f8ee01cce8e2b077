"""A made-up but plausible record: two tiers and a backlog on engines with a fixed number of slots, and a burst that builds a queue.

It obeys the tables' rules (causality, outcomes, nulls), so views can be tested without a simulator.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pyarrow as pa

from traces.record import FLEET, GAPS, REQUESTS, STEPS, Record, make_table

TIERS = ("chat", "summarise")
SLO = {"chat": (0.5, 0.040, np.nan), "summarise": (2.0, 0.100, 60.0)}
KV_CAPACITY = 18_000


def synthetic_record(
    requests: int = 5000,
    engines: int = 8,
    duration_s: float = 600.0,
    *,
    seed: int = 1,
    slots: int = 10,
    shed_share: float = 0.004,
    leap_s: float = 0.1,
    manifest: dict[str, Any] | None = None,
) -> Record:
    """``slots``: requests that an engine runs at once. The fourth fifth of the run arrives at 1.7 times the rate of the rest."""
    rng = np.random.default_rng(seed)
    weights = np.repeat([1.0, 1.0, 1.0, 1.7, 1.0], 20)
    cumulated = np.concatenate([[0], np.cumsum(weights)]) / weights.sum()
    arrival = np.interp(np.sort(rng.random(requests)), cumulated, np.linspace(0, duration_s, 101))
    tier = (rng.random(requests) < 0.3).astype(int)
    prompt = np.clip(rng.lognormal(np.where(tier == 1, 7.6, 6.4), 0.8), 16, 16000).astype(int)
    output = np.clip(rng.lognormal(np.where(tier == 1, 5.2, 5.0), 0.7), 1, 2000).astype(int)
    engine = np.arange(requests) % engines
    tpot = np.clip(rng.normal(0.029, 0.004, requests), 0.012, None)
    prefill = 0.03 + prompt / 16000
    first_scheduled = np.empty(requests)
    free = [[0.0] * slots for _ in range(engines)]
    for i in range(requests):
        start = max(arrival[i], heapq.heappop(free[engine[i]]))
        first_scheduled[i] = start
        heapq.heappush(free[engine[i]], start + prefill[i] + (output[i] - 1) * tpot[i])
    shed = rng.random(requests) < shed_share
    first_token = np.where(shed, np.nan, first_scheduled + prefill)
    last_token = first_token + (output - 1) * tpot
    first_token[first_token > duration_s] = np.nan
    done = last_token <= duration_s
    made = np.where(done, output, np.floor((duration_s - first_token) / tpot) + 1)
    made = np.nan_to_num(made).clip(0, output).astype(int)
    slo = np.array([SLO[t] for t in TIERS])[tier]
    ttft = first_token - arrival
    lateness = np.maximum(ttft - slo[:, 0], ttft - slo[:, 0] + (made - 1) * (tpot - slo[:, 1]))
    queue = np.where(shed | (first_scheduled > duration_s), np.nan, first_scheduled - arrival)
    columns = {
        "id": np.arange(requests),
        "class": (tier, list(TIERS)),
        "tier": (tier, list(TIERS)),
        "model": (np.zeros(requests), ["llama-3.1-8b"]),
        "offline": np.zeros(requests, bool),
        "slo_ttft_s": slo[:, 0],
        "slo_tpot_s": slo[:, 1],
        "slo_e2e_s": slo[:, 2],
        "intended_arrival_s": arrival,
        "arrival_s": arrival,
        "engine": (np.where(shed, -1, engine), [f"engine-{e}" for e in range(engines)]),
        "prompt_tokens": prompt,
        "output_tokens": made,
        "cached_tokens": np.zeros(requests, int),
        "queue_s": queue,
        "ttft_s": ttft,
        "tpot_s": np.where(made >= 2, tpot, np.nan),
        "e2e_s": np.where(done, last_token - arrival, np.nan),
        "dslo_lateness_s": np.where(made > 0, lateness, np.nan),
        "preemptions": np.zeros(requests, int),
        "drafted_tokens": np.zeros(requests, int),
        "accepted_tokens": np.zeros(requests, int),
        "outcome": (np.where(shed, 1, np.where(done, 0, 2)), ["completed", "shed", "unfinished"]),
    }
    ends = np.where(shed, arrival, np.where(np.isnan(last_token), duration_s, np.minimum(last_token, duration_s)))
    return Record(
        manifest=_manifest(duration_s, seed, engines) | (manifest or {}),
        requests=make_table(REQUESTS, columns),
        steps=_steps(engine, np.where(shed, np.inf, first_scheduled), ends, prompt + output // 2, engines, duration_s, leap_s),
        fleet=make_table(
            FLEET,
            {
                "time_s": np.zeros(engines),
                "engine": [f"engine-{e}" for e in range(engines)],
                "model": ["llama-3.1-8b"] * engines,
                "gpu": ["h200"] * engines,
                "gpus": np.ones(engines, int),
                "state": ["active"] * engines,
            },
        ),
        gaps=make_table(
            GAPS, {"class": ["chat", "chat", "summarise"], "gap_s": [0.028, 0.031, 0.029], "count": [9000, 4000, 5000]}
        ),
    )


def _steps(engine: Any, start: Any, end: Any, tokens: Any, engines: int, duration_s: float, leap_s: float) -> pa.Table:
    grid = np.arange(0, duration_s, leap_s)
    parts = []
    for e in range(engines):
        mine = engine == e
        begun, ended = np.sort(start[mine]), np.sort(end[mine])
        running = np.searchsorted(begun, grid, "right") - np.searchsorted(ended, grid, "right")
        kv = np.minimum(running * int(tokens.mean()), KV_CAPACITY)
        parts.append((np.full(len(grid), e), np.arange(len(grid)) * 4, grid, running, kv))
    code, step, at, running, kv = (np.concatenate(column) for column in zip(*parts, strict=True))
    keep = running > 0
    return steps_table(
        engine=(code[keep], [f"engine-{e}" for e in range(engines)]),
        step=step[keep],
        steps=np.full(keep.sum(), 4),
        start_s=at[keep],
        duration_s=np.full(keep.sum(), leap_s),
        prefill_tokens=running[keep] * 20,
        decode_tokens=running[keep] * 4,
        running=running[keep],
        kv_tokens_used=kv[keep],
    )


def steps_table(**columns: Any) -> pa.Table:
    """steps.parquet with the columns given, and zeros in the others."""
    zeros = np.zeros(len(columns["start_s"]))
    return make_table(STEPS, dict.fromkeys(STEPS.names, zeros) | columns)


def _manifest(duration_s: float, seed: int, engines: int) -> dict[str, Any]:
    return {
        "twinserve": "0.1.0",
        "world": "sim",
        "scenario": {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": engines, "tensor_parallel": 1},
            "workload": [
                {"name": "chat", "trace": "azure-2023-conv", "rate": 6.0, "slo": {"ttft": 0.5, "tpot": 0.04}},
                {"name": "summarise", "trace": "arxiv-summarization", "rate": 2.5, "slo": {"ttft": 2.0, "tpot": 0.1, "e2e": 60.0}},
            ],
            "policy": {"router": "power-of-two", "batcher": "vllm"},
            "duration": duration_s,
            "seed": seed,
        },
        "seed": seed,
        "window_s": [duration_s * 0.05, duration_s],
        "end_s": duration_s,
        "wall_s": 1.84,
        "hashes": {
            "code": "9f3b2a7c41de0586b7a1c0d2e4f60718293a4b5c6d7e8f900112233445566778",
            "config": "1c9d0e8f7a6b5c4d3e2f10293847566574839201a0b1c2d3e4f5061728394a5b",
            "trace": "77aa01b2c3d4e5f60718293a4b5c6d7e8f9001122334455667788990a1b2c3d4",
            "fingerprint": "e0d1c2b3a4958677685940312213040516273849506a7b8c9d0e1f2031425364",
        },
        "versions": {"python": "3.11.9", "numpy": "2.4.6", "simpy": "4.1.1", "pyarrow": "26.0.1"},
        "fingerprint": {
            "name": "llama-3.1-8b · h200 · tp1 · bf16",
            "provenance": "assembled from operator tables",
            "source": "AIConfigurator 0.14.0, h200_sxm, vLLM 0.14.0",
            "calibrated": {"batch_tokens": [1, 16384], "context_tokens": [1, 131072]},
        },
        "workload": {"name": "azure-2023-conv + arxiv-summarization", "notes": ["built-in quantile tables", "assigned 2 tiers"]},
        "partial": False,
        "warnings": [],
        "policies": {
            "router": {"name": "power-of-two", "params": {}},
            "batcher": {"name": "vllm", "params": {"max_batched_tokens": 8192}},
        },
        "usd_per_gpu_hour": 3.5,
        "engines": {f"engine-{e}": {"kv_tokens_capacity": KV_CAPACITY, "max_num_seqs": 256} for e in range(engines)},
    }
