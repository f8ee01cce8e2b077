"""Reads the aggregates of open-loop vLLM runs on H100 of inference-sim/sim-to-real-accuracy-validation.

What the file does not hold is published by the same project: a client that draws exponential gaps (inference-perf), prompts that
begin with one of few shared 100-token system prompts, and the rates of each workload, which we assume of every run of that name
(runs of one model contradict each other: Qwen3-14B is slower at codegen's 5 and 10 requests per second than at general's 8 and 20).
Its "ITL" is E2E / output tokens, so that output tokens follow from it; TPOT here is (E2E − TTFT) / (output tokens − 1), of the
means. The ``general`` and ``roleplay`` rows of ``20260217-155451-llama-2-7b-tp1-codegen`` repeat the codegen run's numbers. The
repository has no licence: checked against, not shipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures.validation.measured import Measured, Stages, library_name
from figures.validation.tables import read_table

FILE = "perf/e2e/vllm_h100_blis_groundtruth.dev.csv"
NAME = "H100 ground truth"
COLUMNS = (
    *("exp", "model", "hardware", "tp", "precision", "workload", "max_num_batched_tokens", "stage_index"),
    *("e2e_mean", "itl_mean", "ttft_mean"),
)
PROMPT_TOKENS = {"general": 547, "codegen": 566, "roleplay": 750, "reasoning": 1034}
RATES = {"general": (8.0, 20.0), "codegen": (5.0, 10.0), "roleplay": (6.0,), "reasoning": (4.0,), "reasoning-lite": (1.0,)}
"""Requests per second of each stage; ``general-lite`` has no published rate."""
STAGE_S = 600.0
SHARED_BLOCKS_TOKENS = 96
"""Of the 100 tokens of a shared system prompt, those in whole KV blocks of 16: found in the prefix cache."""
MAX_NUM_SEQS = 128

REPEATED = "another workload's numbers under this name"
NO_RATE = "its arrival rate is not published"
SUMMARY = "the summary of stages that are rows themselves"
ONLY_STAGE = "the only stage of a run whose summary is a row"


def read(data: Path) -> Iterator[Measured]:
    """Every row, those that a rule leaves out included.

    Raises:
        InputError: the file is missing, lacks a column, or a time is not positive.
    """
    table = read_table(data / FILE, COLUMNS, times=("e2e_mean", "itl_mean", "ttft_mean"))
    stages = Counter(table[table["stage_index"] >= 0][["exp", "workload"]].itertuples(index=False, name=None))
    for row in table.itertuples(index=False):
        yield _measured(row, stages[row.exp, row.workload])


def _measured(row: Any, stages: int) -> Measured:
    rates = RATES.get(_workload(row), ())
    if len(rates) > 1 and row.stage_index >= 0:
        rates = (rates[int(row.stage_index)],)
    output_tokens = max(2, round(row.e2e_mean / row.itl_mean))
    return Measured(
        dataset=NAME,
        id=f"{row.exp}/{row.workload}/stage {int(row.stage_index)}",
        model=library_name(row.model),
        gpu=row.hardware.lower(),
        engine="vLLM",
        version="2026-02 fork",
        precisions={"FP16": ("bf16",), "FP8": ("fp8",)}[row.precision],
        kv_precision="bf16",
        tensor_parallel=int(row.tp),
        prompt_tokens=PROMPT_TOKENS[row.workload.removesuffix("-lite")] - SHARED_BLOCKS_TOKENS,
        output_tokens=output_tokens,
        load=Stages(rates, (STAGE_S,) * len(rates)),
        knobs={
            "max_num_seqs": MAX_NUM_SEQS,
            "max_num_batched_tokens": int(row.max_num_batched_tokens),
            "gpu_memory_utilization": 0.9,
            "enable_prefix_caching": False,
        },
        ttft_s=row.ttft_mean * 1e-3,
        tpot_s=(row.e2e_mean - row.ttft_mean) * 1e-3 / (output_tokens - 1),
        statistic="mean",
        excluded=_rule(row, stages),
    )


def _workload(row: Any) -> str:
    """The folder's name tells the lighter variants apart, the column does not."""
    return next((w for w in ("general-lite", "reasoning-lite") if w in row.exp or w == row.workload), row.workload)


def _rule(row: Any, stages: int) -> str | None:
    if f"-{row.workload.removesuffix('-lite')}" not in row.exp:
        return REPEATED
    if _workload(row) not in RATES:
        return NO_RATE
    if row.stage_index < 0:
        return SUMMARY if stages > 1 else None
    return ONLY_STAGE if stages == 1 else None
