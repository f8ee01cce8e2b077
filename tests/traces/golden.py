"""A record small enough to work out by hand: seven requests on two engines, measured over [0, 10) seconds.

| id | class | arrival | first token | tokens      | last | TTFT | TPOT | E2E | limits 1 s, 0.5 s    | outcome    |
|----|-------|---------|-------------|-------------|------|------|------|-----|----------------------|------------|
| 0  | chat  | 0       | 1           | 5           | 3    | 1    | 0.5  | 3   | both just met        | completed  |
| 1  | bulk  | 0       | 4           | 11          | 5    | 4    | 0.1  | 5   | none                 | completed  |
| 2  | chat  | 1       | 3           | 3           | 3.5  | 2    | 0.25 | 2.5 | TTFT missed          | completed  |
| 3  | chat  | 2       | –           | 0           | –    | –    | –    | –   | missed               | shed       |
| 4  | chat  | 3       | 3.5         | 1           | 3.5  | 0.5  | –    | 0.5 | met                  | completed  |
| 5  | chat  | 8       | 9           | 7 by 12 s   | 12   | 1    | 0.5  | –   | in time, not to end  | unfinished |
| 6  | chat  | 11      | 11.5        | 1           | 11.5 | 0.5  | –    | 0.5 | not measured         | completed  |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from traces.record import FLEET, GAPS, REQUESTS, STEPS, Record, make_table

NAN = float("nan")

REQUEST_COLUMNS: Mapping[str, Any] = {
    "id": [0, 1, 2, 3, 4, 5, 6],
    "class": ["chat", "bulk", "chat", "chat", "chat", "chat", "chat"],
    "tier": ["fast", "batch", "fast", "fast", "fast", "fast", "fast"],
    "model": ["tiny"] * 7,
    "offline": [False, True, False, False, False, False, False],
    "slo_ttft_s": [1.0, NAN, 1.0, 1.0, 1.0, 1.0, 1.0],
    "slo_tpot_s": [0.5, NAN, 0.5, 0.5, 0.5, 0.5, 0.5],
    "slo_e2e_s": [NAN] * 7,
    "intended_arrival_s": [0.0, 0, 1, 2, 3, 8, 11],
    "arrival_s": [0.0, 0, 1, 2, 3, 8, 11],
    "engine": ["e0", "e0", "e0", None, "e1", "e0", "e0"],
    "prompt_tokens": [100, 200, 300, 400, 500, 600, 700],
    "output_tokens": [5, 11, 3, 0, 1, 7, 1],
    "cached_tokens": [0, 100, 0, 0, 240, 0, 0],
    "queue_s": [0.5, 3.0, 1.0, NAN, 0.0, 0.5, 0.0],
    "ttft_s": [1.0, 4.0, 2.0, NAN, 0.5, 1.0, 0.5],
    "tpot_s": [0.5, 0.1, 0.25, NAN, NAN, 0.5, NAN],
    "e2e_s": [3.0, 5.0, 2.5, NAN, 0.5, NAN, 0.5],
    "dslo_lateness_s": [0.0, NAN, 1.0, NAN, -0.5, 0.0, -0.5],
    "preemptions": [0, 2, 0, 0, 0, 1, 0],
    "drafted_tokens": [8, 0, 4, 0, 0, 8, 0],
    "accepted_tokens": [2, 0, 1, 0, 0, 2, 0],
    "outcome": ["completed", "completed", "completed", "shed", "completed", "unfinished", "completed"],
}

STEP_COLUMNS: Mapping[str, Any] = {
    "engine": ["e0", "e0", "e1", "e0"],
    "step": [0, 5, 0, 6],
    "steps": [5, 1, 10, 6],
    "start_s": [0.5, 3.0, 4.0, 9.0],
    "duration_s": [2.5, 1.0, 1.0, 3.0],
    "prefill_tokens": [100, 300, 200, 0],
    "decode_tokens": [4, 2, 10, 6],
    "prefill_attention": [0.0] * 4,
    "prefill_seqs": [0] * 4,
    "decode_context": [0] * 4,
    "spec_tokens": [0, 0, 0, 0],
    "running": [1, 2, 1, 1],
    "waiting": [0, 1, 0, 0],
    "kv_tokens_used": [100, 200, 300, 50],
}

FLEET_COLUMNS: Mapping[str, Any] = {
    "time_s": [0.0, 2.0, 4.0, 8.0],
    "engine": ["e0", "e1", "e1", "e1"],
    "model": ["tiny"] * 4,
    "gpu": ["h200"] * 4,
    "gpus": [1, 2, 2, 2],
    "state": ["active", "starting", "active", "released"],
}

GAP_COLUMNS: Mapping[str, Any] = {"class": ["chat", "chat", "bulk"], "gap_s": [0.25, 0.5, 0.1], "count": [2, 10, 10]}

MANIFEST: Mapping[str, Any] = {
    "twinserve": "0.1.0",
    "world": "sim",
    "scenario": {"name": "golden"},
    "seed": 7,
    "window_s": [0.0, 10.0],
    "end_s": 12.0,
    "wall_s": 0.01,
    "hashes": {"code": "0", "config": "0", "trace": "0", "fingerprint": "0"},
    "usd_per_gpu_hour": 3.6,
    "engines": {"e0": {"kv_tokens_capacity": 1000, "max_num_seqs": 2}, "e1": {"kv_tokens_capacity": 500, "max_num_seqs": 2}},
    "warnings": [],
}


def golden_record(
    manifest: Mapping[str, Any] | None = None, requests: Mapping[str, Any] | None = None, steps: Mapping[str, Any] | None = None
) -> Record:
    """The record above, with manifest keys or columns replaced."""
    return Record(
        manifest={**MANIFEST, **(manifest or {})},
        requests=make_table(REQUESTS, {**REQUEST_COLUMNS, **(requests or {})}),
        steps=make_table(STEPS, {**STEP_COLUMNS, **(steps or {})}),
        fleet=make_table(FLEET, FLEET_COLUMNS),
        gaps=make_table(GAPS, GAP_COLUMNS),
    )


def uniform_record(requests: int, **columns: Any) -> Record:
    """One tier, one engine, one arrival per second, everything fast; ``columns`` replaced (scalars are repeated)."""
    n = requests
    settled: dict[str, Any] = {
        "id": np.arange(n),
        "class": "chat",
        "tier": "fast",
        "model": "tiny",
        "offline": False,
        "slo_ttft_s": 1.0,
        "slo_tpot_s": 0.1,
        "slo_e2e_s": NAN,
        "intended_arrival_s": np.arange(float(n)),
        "arrival_s": np.arange(float(n)),
        "engine": "e0",
        "prompt_tokens": 100,
        "output_tokens": 11,
        "cached_tokens": 0,
        "queue_s": 0.1,
        "ttft_s": 0.25,
        "tpot_s": 0.05,
        "e2e_s": 0.75,
        "dslo_lateness_s": -0.75,
        "preemptions": 0,
        "drafted_tokens": 0,
        "accepted_tokens": 0,
        "outcome": "completed",
        **columns,
    }
    table = {name: [column] * n if np.isscalar(column) else column for name, column in settled.items()}
    seconds = np.arange(float(n))
    steps = {
        "engine": ["e0"] * n,
        "step": np.arange(n),
        "steps": [1] * n,
        "start_s": seconds,
        "duration_s": [0.5] * n,
        "prefill_tokens": [100] * n,
        "decode_tokens": [10] * n,
        "prefill_attention": [0.0] * n,
        "prefill_seqs": [0] * n,
        "decode_context": [0] * n,
        "spec_tokens": [0] * n,
        "running": [1] * n,
        "waiting": [0] * n,
        "kv_tokens_used": [100] * n,
    }
    fleet = {"time_s": [0.0], "engine": ["e0"], "model": ["tiny"], "gpu": ["h200"], "gpus": [1], "state": ["active"]}
    gaps = {"class": ["chat"], "gap_s": [0.05], "count": [10 * n]}
    manifest = {**MANIFEST, "window_s": [0.0, float(n)], "end_s": float(n)}
    return Record(manifest, make_table(REQUESTS, table), make_table(STEPS, steps), make_table(FLEET, fleet), make_table(GAPS, gaps))
