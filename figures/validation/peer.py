"""NVIDIA AIConfigurator's own predictions of the same rows, from an installation in an environment of its own.

``python -m venv ENV; ENV/bin/pip install aiconfigurator==0.12.0`` and pass ``ENV/bin/python``. Its estimate knows a batch size,
lengths and parallelism, but no server limits and no spread of lengths; its regression set holds the rows of the silicon sample.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures.validation.measured import ClosedLoop, Measured
from figures.validation.scenarios import experts_spread
from traces.errors import InputError

Answer = dict[str, Any]
"""``ttft_s`` and ``tpot_s``, or ``error``."""
DRIVER = Path(__file__).with_name("aiconfigurator_driver.py")
MODELS = {
    "llama-3.1-8b": "meta-llama/Meta-Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama/Meta-Llama-3.1-70B",
    "qwen3-32b": "Qwen/Qwen3-32B",
    "qwen3-235b-a22b": "Qwen/Qwen3-235B-A22B-FP8",
    "gpt-oss-120b": "openai/gpt-oss-120b",
    "minimax-m2": "MiniMaxAI/MiniMax-M2.5",
    "kimi-k2": "moonshotai/Kimi-K2.5",
    "deepseek-v3": "deepseek-ai/DeepSeek-V3",
}
"""Our names to those of the model files that it brings along; it fetches others from the internet."""
_EXPERTS = ("qwen3-235b-a22b", "gpt-oss-120b", "minimax-m2", "kimi-k2", "deepseek-v3")


def ask(python: Path, rows: Sequence[Measured], kept: Path) -> list[tuple[float, float] | None]:
    """TTFT and TPOT in seconds of each row, ``None`` where it has no answer or the row's engine is not vLLM.

    ``kept``: a file of earlier answers, which grows by the new ones: an answer takes about a second.

    Raises:
        InputError: the interpreter cannot be run, or AIConfigurator is not installed there.
    """
    questions = [asked(row) for row in rows]
    answers = _read(kept)
    new = sorted({question for question in questions if question is not None and question not in answers})
    if new:
        with kept.open("a", encoding="utf-8") as file:
            for question, answer in zip(new, _run(python, new), strict=True):
                answers[question] = answer
                file.write(json.dumps([question, answer]) + "\n")
    found = [None if question is None else answers[question] for question in questions]
    return [None if one is None or "error" in one else (one["ttft_s"], one["tpot_s"]) for one in found]


def asked(row: Measured) -> str | None:
    """The question about a row, as one line of JSON; ``None`` for a row that AIConfigurator cannot be asked about."""
    question = _question(row)
    return None if question is None else json.dumps(question, sort_keys=True)


def _read(kept: Path) -> dict[str, Answer]:
    if not kept.exists():
        return {}
    try:
        return dict(json.loads(line) for line in kept.read_text("utf-8").splitlines())
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{kept}: not a file of earlier answers ({error}); delete it") from None


def _run(python: Path, questions: Sequence[str]) -> list[Answer]:
    try:
        done = subprocess.run(
            [python, "-I", DRIVER], input="\n".join(questions) + "\n", capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise InputError(f"{python}: {error.strerror}; give the Python of an environment that holds aiconfigurator") from None
    answers: list[Answer] = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(questions):
        last = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        raise InputError(f"{python}: AIConfigurator failed ({last[0][:160]}); install aiconfigurator there")
    return answers


def _question(row: Measured) -> dict[str, Any] | None:
    if not isinstance(row.load, ClosedLoop) or row.model not in MODELS or row.engine != "vLLM":
        return None
    question: dict[str, Any] = {
        "model_path": MODELS[row.model],
        "system_name": f"{row.gpu}_sxm",
        "backend_name": "vllm",
        "isl": row.prompt_tokens,
        "osl": row.output_tokens,
        "batch_size": row.load.concurrency,
        "tp_size": row.tensor_parallel,
    }
    if row.precisions[0] == "fp8":
        question |= {"gemm_quant_mode": "fp8"}
    if row.kv_precision == "fp8":
        question |= {"kvcache_quant_mode": "fp8"}
    if row.model in _EXPERTS:
        sliced, spread = (1, row.tensor_parallel) if experts_spread(row) else (row.tensor_parallel, 1)
        question |= {"moe_tp_size": sliced, "moe_ep_size": spread}
    return question
