"""MaverIQ's published measurements, where the data folder beside the project holds them: fingerprints and whole models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from policies.extrapolation import MAVERIQ_MODELS, RTX_A6000, Runs
from policies.extrapolation.maveriq import PUBLISHED, Decomposition, latency

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "papers"
PRECISIONS: Mapping[str, str] = {"float16": "fp16", "int8": "int8", "int4": "int4", "int4_gptq": "int4-g128"}
PROMPT_TOKENS = 923
SCORED_OUTPUT = 100
"""Output tokens at which the paper states its error."""
ABSENT = "MaverIQ's measurements are not at hand."

Row = Mapping[str, Any]


@cache
def rows(name: str) -> Sequence[Row]:
    """Of ``maveriq_fingerprints.json`` or ``maveriq_profile_summary.json``; none where it is not at hand."""
    path = FOLDER / name
    return tuple(json.loads(path.read_text("utf-8"))) if path.is_file() else ()


def by_layers(model: str, output: int) -> list[tuple[int, float]]:
    """(layers, seconds) at 16 bits on one GPU, as measured: one and two layers, and the whole model."""
    prints = [
        (int(row["layers"]), float(row["latency_s"]))
        for row in rows("maveriq_fingerprints.json")
        if _is(row, model, "float16") and row["out"] == output and row["layers"] in (1, 2)
    ]
    whole = [
        (MAVERIQ_MODELS[model].layers, float(row["lat"][str(output)]))
        for row in rows("maveriq_profile_summary.json")
        if _is(row, model, "float16") and str(output) in row["lat"]
    ]
    return sorted({*prints, *whole})


def _is(row: Row, model: str, dtype: str) -> bool:
    return row["model"] == model and row["dtype"] == dtype and (row["tp"], row["pp"]) == (1, 1) and not row["int8_kv"]


def errors() -> dict[str, list[float]]:
    """Absolute error of the predicted latency in per cent, of every measured configuration: by MaverIQ's equations, and by ours."""
    theirs, ours = [], []
    starts = _references()
    for row in rows("maveriq_profile_summary.json"):
        architecture = MAVERIQ_MODELS[row["model"]]
        family = PRECISIONS[row["dtype"]], bool(row["int8_kv"])
        seconds = float(row["lat"][str(SCORED_OUTPUT)])
        one, two = (
            starts[row["model"], family, tp].full(architecture.layers, SCORED_OUTPUT)
            if (row["model"], family, tp) in starts
            else np.nan
            for tp in (1, 2)
        )
        theirs.append(100 * abs(float(latency(one, two, row["tp"], row["pp"], PUBLISHED[family])) / seconds - 1))
        runs = Runs.of(
            architecture,
            tp=row["tp"],
            pp=row["pp"],
            precision=family[0],
            kv_bytes=1.0 if family[1] else 2.0,
            prompt=PROMPT_TOKENS,
            output=SCORED_OUTPUT,
        )
        ours.append(100 * abs(float(RTX_A6000.latency(architecture, runs).total_s[0]) / seconds - 1))
    return {"MaverIQ's equations": theirs, "ours": ours}


def _references() -> dict[tuple[str, tuple[str, bool], int], Decomposition]:
    """By model, precisions and TP, from the fingerprints without a pipeline."""
    points: dict[tuple[str, tuple[str, bool], int], dict[tuple[int, int], float]] = {}
    for row in rows("maveriq_fingerprints.json"):
        if row["pp"] == 1 and row["layers"] in (1, 2):
            key = row["model"], (PRECISIONS[row["dtype"]], bool(row["int8_kv"])), int(row["tp"])
            points.setdefault(key, {})[int(row["layers"]), int(row["out"])] = float(row["latency_s"])
    return {key: Decomposition.of(seconds) for key, seconds in points.items()}
