"""Reads AIConfigurator's ``silicon_sample`` of measured TTFT and TPOT (aiconfigurator-core on PyPI, Apache-2.0).

It joins two kinds of runs. Those of SemiAnalysis' InferenceX (its scripts are public) keep ``max_num_seqs`` at the concurrency,
send ten requests per slot, draw lengths from 80–100 % of the nominal ones and schedule asynchronously; Llama's ask for FP8 KV.
NVIDIA's own gap-analysis runs do not say how they were loaded: lengths within 10 %, vLLM's default limits and ten requests per slot
are our assumption, of which the spread was chosen from 0, 2, 5 and 10 % on the fit part (equal lengths keep all requests in
lockstep, which the measured TTFT is not). vLLM 0.12 of the gap analysis does not schedule asynchronously by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from figures.validation.measured import DEFAULT_REQUESTS_PER_SLOT, ClosedLoop, Measured, library_name
from figures.validation.tables import read_rows

FILE = "perf/e2e/silicon_sample.dev.csv.gz"
NAME = "silicon sample"
COLUMNS = (
    *("id", "silicon_data_source", "backend", "backend_version", "model_path", "system", "precision", "mode", "isl", "osl"),
    *("gemm_quant_mode", "batch_size", "tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size"),
    *("silicon_ttft_ms", "silicon_tpot_ms"),
)
GPUS_PER_NODE = 8

DISAGGREGATED = "prefill and decode on separate engines"
NODE = "more than 8 GPUs in one node: the converter's error"
DATA_PARALLEL = "attention data parallel"
REPEATED = "the same measurement twice"

INFERENCEX_KNOBS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("minimax-m2", "h100"): {"max_num_seqs": 256},
    ("minimax-m2", "h200"): {"max_num_seqs": 1024, "gpu_memory_utilization": 0.95},
    ("kimi-k2", "h200"): {"gpu_memory_utilization": 0.95},
}
"""Where InferenceX's launch scripts differ from most of them."""
_INFERENCEX = re.compile(r"^(source_file=\d{4}-\d\d-\d\d\.csv|db-dump/)")
_FP8_CHECKPOINTS = ("deepseek-ai/", "MiniMaxAI/")


def read(data: Path) -> Iterator[Measured]:
    """Every row, those that a rule leaves out included.

    Raises:
        InputError: the file is missing or lacks a column.
    """
    seen: set[tuple[Any, ...]] = set()
    for row in read_rows(data / FILE, COLUMNS, times=("silicon_ttft_ms", "silicon_tpot_ms")):
        times = round(row.silicon_ttft_ms, 2), round(row.silicon_tpot_ms, 2)
        identity = (row.model_path, row.system, row.backend, row.tp_size, row.isl, row.osl, *times)
        yield _measured(row, repeated=identity in seen)
        seen.add(identity)


def _measured(row: Any, *, repeated: bool) -> Measured:
    from pandas import isna

    inferencex = bool(_INFERENCEX.match(row.silicon_data_source))
    model = library_name(row.model_path)
    concurrency = 0 if isna(row.batch_size) else int(row.batch_size)
    tp = 0 if isna(row.tp_size) else int(row.tp_size)
    gpu = row.system.removesuffix("_sxm")
    knobs: dict[str, Any] = {"enable_prefix_caching": False, "gpu_memory_utilization": 0.9, "max_num_batched_tokens": 8192}
    if inferencex:
        knobs["max_num_seqs"] = concurrency
        knobs |= INFERENCEX_KNOBS.get((model, gpu), {})
    return Measured(
        dataset=NAME,
        id=row.id,
        model=model,
        gpu=gpu,
        engine={"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}[row.backend],
        version="unknown" if isna(row.backend_version) else row.backend_version,
        precisions=_precisions(row),
        kv_precision="fp8" if inferencex and model.startswith("llama") and row.backend == "vllm" else "bf16",
        tensor_parallel=tp,
        prompt_tokens=int(row.isl),
        output_tokens=int(row.osl),
        load=ClosedLoop(concurrency, DEFAULT_REQUESTS_PER_SLOT * concurrency, 0.8 if inferencex else 0.9),
        knobs=knobs,
        ttft_s=row.silicon_ttft_ms * 1e-3,
        tpot_s=row.silicon_tpot_ms * 1e-3,
        statistic="unknown",
        expert_parallel=row.moe_ep_size > 1,
        async_scheduling=inferencex or row.backend != "vllm",
        client_known=inferencex,
        excluded=_rule(row, tp) or (REPEATED if repeated else None),
    )


def _rule(row: Any, tp: int) -> str | None:
    if row.mode != "agg":
        return DISAGGREGATED
    expert_ranks = row.moe_tp_size * row.moe_ep_size
    data_ranks = 1 if not row.attention_dp_size > 1 else row.attention_dp_size
    if max(tp * data_ranks, expert_ranks) > GPUS_PER_NODE or data_ranks > GPUS_PER_NODE:
        return NODE
    return DATA_PARALLEL if data_ranks > 1 or expert_ranks > tp else None


def _precisions(row: Any) -> tuple[str, ...]:
    """The file's "fp8" hides two kinds: checkpoints that are themselves FP8 (Qwen's, DeepSeek's, MiniMax's) scale by blocks."""
    from pandas import isna

    if "gpt-oss" in row.model_path:
        return ("mxfp4",)
    if isna(row.precision):
        return ("bf16",)
    block = row.gemm_quant_mode == "fp8_block" or row.model_path.endswith("-FP8") or row.model_path.startswith(_FP8_CHECKPOINTS)
    return {"fp8": ("fp8_block",) if block else ("fp8",), "fp4": ("nvfp4",), "int4": ("int4",)}[row.precision]
