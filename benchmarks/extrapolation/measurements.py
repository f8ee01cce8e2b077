"""Reads MaverIQ's published measurements: fingerprints of one to three layers, and 412 configurations of six whole models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policies.extrapolation import MAVERIQ_MODELS, Architecture, Runs
from traces.errors import InputError
from traces.extrapolation import Samples

PROMPT_TOKENS = 923
"""The ``max_input_length`` to which the measuring script (run_metrics_collector.py of UT-SysML/MaverIQ) cuts its prompt file."""

SCORED_OUTPUT = 100
"""Output tokens at which the paper states its error."""

PRECISIONS: Mapping[str, str] = {"float16": "fp16", "int8": "int8", "int4": "int4", "int4_gptq": "int4-g128"}

GIB = 2**30


@dataclass(frozen=True)
class Measured:
    """One model: its fingerprints and its whole-model runs (one row per configuration and output length)."""

    fingerprints: Samples
    whole: Samples

    @property
    def architecture(self) -> Architecture:
        return self.whole.architecture


def read(folder: Path) -> dict[str, Measured]:
    """By model, from ``maveriq_fingerprints.json`` and ``maveriq_profile_summary.json`` in ``folder``.

    Raises:
        InputError: a file is missing, is not JSON, or a row lacks a field.
    """
    fingerprints = _load(folder / "maveriq_fingerprints.json")
    summary = _load(folder / "maveriq_profile_summary.json")
    try:
        whole = [
            {**row, "layers": MAVERIQ_MODELS[row["model"]].layers, "out": int(output), "latency_s": seconds}
            for row in summary
            for output, seconds in row["lat"].items()
        ]
        return {model: Measured(_samples(model, fingerprints), _samples(model, whole)) for model in MAVERIQ_MODELS}
    except KeyError as missing:
        raise InputError(f"{folder}: a row of MaverIQ's measurements lacks {missing}; is this the published file?") from None


def _load(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the folder with MaverIQ's measurements") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON ({error.msg}); fetch the file again") from None
    return rows


def _samples(model: str, rows: list[dict[str, Any]]) -> Samples:
    mine = [row for row in rows if row["model"] == model]
    architecture = MAVERIQ_MODELS[model]
    runs = Runs.of(
        architecture,
        layers=[row["layers"] for row in mine],
        tp=[row["tp"] for row in mine],
        pp=[row["pp"] for row in mine],
        precision=[PRECISIONS[row["dtype"]] for row in mine],
        kv_bytes=[1.0 if row["int8_kv"] else 2.0 for row in mine],
        prompt=PROMPT_TOKENS,
        output=[row["out"] for row in mine],
    )
    seconds = np.array([row["latency_s"] for row in mine], float)
    return Samples(model, architecture, runs, seconds, np.array([row["mem_after_gb"] for row in mine], float) * GIB)
