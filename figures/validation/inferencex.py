"""Reads InferenceX's position study: GLM-5 and MiniMax-M2.5 on 8 × H200 under vLLM (SemiAnalysisAI/InferenceX, Apache-2.0)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from figures.validation.measured import ClosedLoop, Measured, library_name
from figures.validation.tables import read_rows

FILE = "perf/e2e/inferencex_token_position_h200.dev.csv"
NAME = "InferenceX position study"
COLUMNS = ("config", "isl", "osl", "concurrency", "model_id", "num_prompts", "total_input_tokens", "median_ttft", "median_tpot")


def read(data: Path) -> Iterator[Measured]:
    """Every row. ``total_input_tokens`` is ``num_prompts`` × the nominal length in all of them: the prompts are equally long.

    Raises:
        InputError: the file is missing, lacks a column, or a time is not positive.
    """
    for row in read_rows(data / FILE, COLUMNS, times=("median_ttft", "median_tpot")):
        yield Measured(
            dataset=NAME,
            id=f"{row.config}_{row.isl}x{row.osl}_c{row.concurrency}",
            model=library_name(row.model_id),
            gpu="h200",
            engine="vLLM",
            version="2026-02",
            precisions=("fp8_block",),
            kv_precision="fp8",
            tensor_parallel=8,
            prompt_tokens=int(row.isl),
            output_tokens=int(row.osl),
            load=ClosedLoop(int(row.concurrency), int(row.num_prompts), 1.0),
            knobs={"enable_prefix_caching": False},
            ttft_s=row.median_ttft,
            tpot_s=row.median_tpot,
            statistic="median",
            excluded="data and expert parallel attention" if "dep8" in row.config else None,
        )
