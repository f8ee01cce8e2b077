"""Reads LLMServingSim's replays of real vLLM, request by request (casys-kaist/LLMServingSim, MIT)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from figures.validation.measured import Measured, Replay, library_name
from traces.errors import InputError

FOLDER = "perf/llmservingsim/bench/examples"
NAME = "RTX PRO 6000 replays"
_GPUS = {"RTXPRO6000": "rtx-pro-6000"}


def read(data: Path) -> Iterator[Measured]:
    """One row per replay of 300 ShareGPT requests at 10 requests per second.

    Raises:
        InputError: a file is missing or not what it should be.
    """
    for meta in sorted((data / FOLDER).glob("*/*/vllm/meta.json")):
        try:
            yield _measured(meta.parent)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{meta.parent}: not a replay ({error!r}); expected meta.json and requests.jsonl") from None


def _measured(folder: Path) -> Measured:
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    engine = meta["engine_kwargs"]
    rows = [json.loads(line) for line in (folder / "requests.jsonl").read_text("utf-8").splitlines()]
    rows.sort(key=lambda row: row["arrival_time"])
    # Arrivals are on the wall clock, tokens on a monotonic one; taken together at the request that was queued soonest.
    offset = min(row["queued_ts"] - row["arrival_time"] for row in rows)
    ttft = [row["first_token_ts"] - row["arrival_time"] - offset for row in rows]
    tpot = [(row["last_token_ts"] - row["first_token_ts"]) / (row["output_toks"] - 1) for row in rows]
    start = rows[0]["arrival_time"]
    return Measured(
        dataset=NAME,
        id=str(folder.parent.name),
        model=library_name(meta["model"]),
        gpu=_GPUS[folder.parent.parent.name],
        engine="vLLM",
        version=meta["vllm_version"],
        precisions=("bf16",),
        kv_precision="bf16",
        tensor_parallel=engine["tensor_parallel_size"],
        prompt_tokens=round(fmean(row["input_toks"] for row in rows)),
        output_tokens=round(fmean(row["output_toks"] for row in rows)),
        load=Replay(
            tuple(row["arrival_time"] - start for row in rows),
            tuple(row["input_toks"] for row in rows),
            tuple(row["output_toks"] for row in rows),
            tuple(ttft),
            tuple(tpot),
        ),
        knobs={key: engine[key] for key in ("max_num_seqs", "max_num_batched_tokens")} | {"enable_prefix_caching": False},
        ttft_s=fmean(ttft),
        tpot_s=fmean(tpot),
        statistic="mean",
    )
