"""Measured decode steps of batches from 1 to 64: the one check of the batch law. No constant is fitted to them.

Read from UT-SysML/MaverIQ, outputs/profiling_data/full_model_data_collection_BS.csv, as (latency at 200 output tokens − latency
at 100) / 100. Prompts there are single sentences whose lengths are not published; 20 tokens are assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.extrapolation.folds import SHIPPED, Models, latency_prints
from policies.extrapolation import Runs

BATCHES = (1, 8, 16, 32, 64)
MEAN_OUTPUT = 300
"""Twice the 150 tokens that a request has produced, on average, between its 100th and its 200th."""
PROMPT_TOKENS = 20


class Steps(NamedTuple):
    """Milliseconds of a decode step at each of ``BATCHES``."""

    model: str
    tp: int
    pp: int
    precision: str
    measured_ms: tuple[float, ...]


MEASURED = (
    Steps("gptj-6b", 1, 1, "fp16", (19.42, 20.29, 21.50, 23.66, 27.53)),
    Steps("gptj-6b", 1, 1, "int8", (10.81, 12.01, 13.04, 14.87, 19.33)),
    Steps("gptj-6b", 1, 1, "int4", (6.71, 8.19, 9.11, 10.97, 17.39)),
    Steps("gptj-6b", 4, 2, "fp16", (6.94, 9.52, 11.97, 16.74, 25.81)),
    Steps("gptj-6b", 8, 1, "fp16", (7.36, 22.47, 38.82, 78.96, 41.48)),
    Steps("gptj-6b", 8, 1, "int4", (5.24, 24.06, 30.46, 73.28, 13.80)),
    Steps("falcon-40b", 4, 2, "fp16", (35.84, 47.94, 57.13, 71.28, 79.08)),
    Steps("falcon-40b", 4, 2, "int8", (20.02, 30.39, 39.32, 55.77, 62.62)),
    Steps("falcon-40b", 4, 2, "int4", (12.99, 23.38, 32.23, 48.70, 58.13)),
    Steps("falcon-40b", 8, 1, "fp16", (30.95, 101.19, 175.10, 100.15, 139.85)),
    Steps("falcon-40b", 8, 1, "int8", (22.71, 87.28, 165.67, 97.32, 100.54)),
    Steps("falcon-40b", 8, 1, "int4", (19.70, 84.16, 171.59, 92.35, 103.55)),
)


def predict(models: Models) -> Mapping[Steps, NDArray[np.float64]]:
    """Milliseconds at each of ``BATCHES``, calibrated on the models that are not among the measured ones, at batch 1."""
    others = [s for name, m in models.items() if name not in {row.model for row in MEASURED} for s in (latency_prints(m), m.whole)]
    hardware = SHIPPED.fit(others)
    predicted = {}
    for row in MEASURED:
        architecture = models[row.model].architecture
        runs = Runs.of(
            architecture,
            tp=row.tp,
            pp=row.pp,
            precision=row.precision,
            batch=BATCHES,
            prompt=PROMPT_TOKENS,
            output=MEAN_OUTPUT,
        )
        predicted[row] = hardware.latency(architecture, runs).step_s * 1e3
    return predicted
