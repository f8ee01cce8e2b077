"""What the fleet did and cost in the measured window, from fleet.parquet and steps.parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from traces.slices import Floats, Slices
from traces.tables import codes, floats

FREE = ("parked", "released")
"""States in which an engine costs nothing."""
SERVING = ("active", "draining")
"""States in which an engine can run steps."""


ROUNDING_S = 1e-9
"""Rows that follow each other overlap by less: a start and a duration do not add up to the next start to the last digit."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of engines' lives: engine, GPUs, price per second, seconds from the run's start."""

    engine: list[str]
    start_s: Floats
    end_s: Floats
    gpus: Floats
    usd_per_s: Floats


def spans(fleet: pa.Table, end_s: float, states: frozenset[str] | None, usd_per_gpu_hour: Any) -> Spans:
    """Spans that engines spent in ``states``; ``None`` = in any state that costs GPU time.

    ``usd_per_gpu_hour``: a price, or prices by GPU type; ``None`` = unknown (NaN).
    """
    rows = fleet.select(["time_s", "engine", "gpu", "gpus", "state"]).to_pylist()
    changes: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        changes.setdefault(row["engine"], []).append(row)
    found = []
    for engine, life in changes.items():
        life.sort(key=lambda row: row["time_s"])  # stable: of two changes at one time the later row holds
        until = [row["time_s"] for row in life[1:]] + [end_s]
        for row, end in zip(life, until, strict=True):
            wanted = row["state"] in states if states is not None else row["state"] not in FREE
            if wanted and end > row["time_s"]:
                price = usd_per_gpu_hour.get(row["gpu"]) if isinstance(usd_per_gpu_hour, Mapping) else usd_per_gpu_hour
                found.append((engine, row["time_s"], end, row["gpus"], np.nan if price is None else row["gpus"] * price / 3600))
    columns = list(zip(*found, strict=True)) if found else [()] * 5
    return Spans(list(columns[0]), *(np.array(column, np.float64) for column in columns[1:]))


@dataclass(frozen=True, slots=True)
class Usage:
    """Per slice of the window; KV in token-seconds, ``None`` where the manifest does not tell the engines' capacities."""

    gpu_s: Floats
    usd: Floats | None
    serving_s: Floats
    busy_s: Floats
    kv_used: Floats
    kv_capacity: Floats | None
    kv_peak: float | None


def usage(fleet: pa.Table, steps: pa.Table, manifest: Mapping[str, Any], slices: Slices) -> Usage:
    """The fleet's use of its GPUs, slice by slice.

    KV memory counts as used at a row's end over the whole row, and as free between rows (an engine without steps holds no request).
    """
    end_s = float(manifest["end_s"])
    paid = spans(fleet, end_s, None, manifest.get("usd_per_gpu_hour"))
    serving = spans(fleet, end_s, frozenset(SERVING), None)
    start, end = own_time(steps)
    kv = floats(steps, "kv_tokens_used")
    usd = slices.flowed(paid.start_s, paid.end_s, paid.usd_per_s) if np.isfinite(paid.usd_per_s).all() and paid.engine else None
    capacity, peak = None, None
    sizes = {name: knobs["kv_tokens_capacity"] for name, knobs in engine_knobs(manifest).items() if "kv_tokens_capacity" in knobs}
    if serving.engine and all(engine in sizes for engine in serving.engine):
        capacity = slices.flowed(serving.start_s, serving.end_s, np.array([sizes[e] for e in serving.engine], np.float64))
        engine, names = codes(steps, "engine")
        inside = (start >= slices.start_s) & (start < slices.end_s)
        if all(name in sizes for name in names):
            share = kv / np.array([sizes[name] for name in names], np.float64)[engine] if names else kv
            peak = float(share[inside].max(initial=0.0))
    return Usage(
        gpu_s=slices.flowed(paid.start_s, paid.end_s, paid.gpus),
        usd=usd,
        serving_s=slices.flowed(serving.start_s, serving.end_s, np.ones(len(serving.engine))),
        busy_s=slices.flowed(start, end, np.ones(len(start))),
        kv_used=slices.flowed(start, end, kv),
        kv_capacity=capacity,
        kv_peak=peak,
    )


def own_time(steps: pa.Table) -> tuple[Floats, Floats]:
    """Start and end of each row, without the time that it shares with its engine's row before, as batches in pipeline stages do."""
    start = floats(steps, "start_s")
    end = start + floats(steps, "duration_s")
    engine, names = codes(steps, "engine")
    rows = np.argsort(engine.astype(np.int16) if len(names) < 2**15 else engine, kind="stable")
    before = np.roll(end[rows], 1)
    before[np.diff(engine[rows], prepend=-1) != 0] = -np.inf
    shared = before - start[rows] > ROUNDING_S
    own = start.copy()
    own[rows[shared]] = before[shared]
    return own, end


def engine_knobs(manifest: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """``manifest["engines"]``: {engine: {kv_tokens_capacity, max_num_seqs, max_num_batched_tokens}}; empty where it tells none."""
    engines: Mapping[str, Mapping[str, Any]] = manifest.get("engines", {})
    return engines
