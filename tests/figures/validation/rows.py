"""Measured rows and data folders made for the tests."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from figures.validation import h100_ground_truth, inferencex, replays, silicon_sample
from figures.validation.measured import ClosedLoop, Measured

SILICON: Mapping[str, Any] = {
    "id": "a",
    "silicon_data_source": "source_file=2026-04-06.csv; model=Llama-3.1-70B; silicon_concurrency=16",
    "backend": "vllm",
    "backend_version": "0.18.0",
    "model_path": "meta-llama/Llama-3.1-8B-Instruct",
    "system": "h100_sxm",
    "precision": "",
    "mode": "agg",
    "isl": 512,
    "osl": 64,
    "gemm_quant_mode": "",
    "batch_size": 16,
    "tp_size": 1,
    "attention_dp_size": 1,
    "moe_tp_size": 1,
    "moe_ep_size": 1,
    "silicon_ttft_ms": 40.0,
    "silicon_tpot_ms": 7.5,
}
GROUND_TRUTH: Mapping[str, Any] = {
    "exp": "1-llama-3-1-8b-tp1-codegen-1",
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "hardware": "H100",
    "tp": 1,
    "precision": "FP16",
    "workload": "codegen",
    "max_num_batched_tokens": 2048,
    "stage_index": -1,
    "e2e_mean": 2000.0,
    "itl_mean": 8.0,
    "ttft_mean": 36.0,
}
INFERENCEX: Mapping[str, Any] = {
    "config": "glm5_fp8_vllm_tp8",
    "isl": 1024,
    "osl": 128,
    "concurrency": 4,
    "model_id": "zai-org/GLM-5-FP8",
    "num_prompts": 40,
    "total_input_tokens": 40960,
    "median_ttft": 0.3,
    "median_tpot": 0.02,
}


def row(**changes: Any) -> Measured:
    """Llama-3.1-8B in bf16 on one H100, 16 requests at a time."""
    plain = Measured(
        dataset="made up",
        id="a",
        model="llama-3.1-8b",
        gpu="h100",
        engine="vLLM",
        version="0.18.0",
        precisions=("bf16",),
        kv_precision="bf16",
        tensor_parallel=1,
        prompt_tokens=512,
        output_tokens=64,
        load=ClosedLoop(16, 160, 0.8),
        knobs={"enable_prefix_caching": False, "max_num_seqs": 16},
        ttft_s=0.04,
        tpot_s=0.0075,
        statistic="mean",
    )
    return replace(plain, **changes)


def data_folder(
    folder: Path, silicon: Sequence[Mapping[str, Any]] = (SILICON,), ground_truth: Sequence[Mapping[str, Any]] = (GROUND_TRUTH,)
) -> Path:
    """All four data sets, with the given rows in the first and third, one row in the second and a replay of eight requests."""
    _write(folder / silicon_sample.FILE, silicon)
    _write(folder / inferencex.FILE, [INFERENCEX])
    _write(folder / h100_ground_truth.FILE, ground_truth)
    replay = folder / replays.FOLDER / "RTXPRO6000" / "Llama-3.1-8B" / "vllm"
    replay.mkdir(parents=True)
    engine = {"tensor_parallel_size": 1, "max_num_seqs": 128, "max_num_batched_tokens": 2048}
    meta = {"model": "meta-llama/Llama-3.1-8B", "vllm_version": "0.19.0", "engine_kwargs": engine}
    (replay / "meta.json").write_text(json.dumps(meta))
    requests = [
        {
            "arrival_time": 1e9 + i,
            "input_toks": 100,
            "output_toks": 11,
            "queued_ts": 5.0 + i,
            "first_token_ts": 5.05 + i,
            "last_token_ts": 5.15 + i,
        }
        for i in range(8)
    ]
    (replay / "requests.jsonl").write_text("\n".join(json.dumps(request) for request in requests))
    return folder


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
