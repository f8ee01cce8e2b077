"""Calibration of a system on measured end-to-end latencies: seven constants for a model on one engine version and GPU type.

Fingerprints assembled from operator tables hold the kernels of one engine version, measured one at a time, and a fixed launch cost.
Another version has other kernels; serving heats the GPU; an engine spends host time per step and per running request (scheduling,
inputs, sampled tokens); no simulator of the engine holds the way of a request through the HTTP server and tokenizer; and in a
closed loop the next request is sent when the last token has reached the client, by when the following step has begun and, with
asynchronous scheduling, one more is planned. So, with all constants ≥ 0,

    TPOT = pace × simulated + step + request × running requests
    TTFT = prefill pace × simulated + base + token × prompt tokens + waited × TPOT

``fit`` takes rows of the fit part only, and gives every row of a system the same constants. Least absolute relative deviations (by
reweighting), so that a few rows that are wrong for other reasons do not set the constants. That the paces are there, that the
fingerprint's own TPOT counts as one more row, and that a system is one model, was chosen by cross-validation inside the fit part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

MIN_ROWS = 8
"""A system with fewer rows in the fit part keeps its predictions as they are."""
FOLDS = 4
_ROUNDS = 40
_SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True, slots=True)
class Calibration:
    """The constants of one system: factors, seconds, seconds per running request; seconds per prompt token, and steps."""

    pace: float = 1.0
    step_s: float = 0.0
    request_s: float = 0.0
    prefill_pace: float = 1.0
    base_s: float = 0.0
    token_s: float = 0.0
    waited_steps: float = 0.0

    @property
    def fitted(self) -> bool:
        """Whether there were rows enough."""
        return self != Calibration()


def fit(rows: pd.DataFrame, rows_in_all: int | None = None) -> Calibration:
    """The constants of the system whose rows these are: ``tpot_s``, ``ttft_s`` measured, ``sim_tpot_s``, ``sim_ttft_s``,
    ``running`` (requests at a time) and ``prompt_tokens``. ``rows_in_all``: of the system, where a fold is left out.
    """
    if (rows_in_all or len(rows)) < MIN_ROWS:
        return Calibration()
    ttft, tpot, sim_ttft, sim_tpot, running, prompt = _columns(rows)
    ones = np.ones(len(rows))
    pace, step, request = _least_absolute([sim_tpot, ones * 1e-3, running * 1e-5], tpot, trusted=True)
    step_s, request_s = step * 1e-3, request * 1e-5
    found = pace * sim_tpot + step_s + request_s * running
    prefill, base, token, waited = _least_absolute([sim_ttft, ones * 1e-3, prompt * 1e-6, found], ttft)
    return Calibration(pace, step_s, request_s, prefill, base * 1e-3, token * 1e-6, waited)


def calibrated(rows: pd.DataFrame, constants: Calibration) -> tuple[Floats, Floats]:
    """TTFT and TPOT of the rows with the constants, in seconds."""
    _, _, sim_ttft, sim_tpot, running, prompt = _columns(rows)
    c = constants
    tpot = c.pace * sim_tpot + c.step_s + c.request_s * running
    return c.prefill_pace * sim_ttft + c.base_s + c.token_s * prompt + c.waited_steps * tpot, tpot


def cross_validated(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """TTFT and TPOT of one system's rows, in seconds, each row's from constants fitted to the other folds.

    A row's fold follows from SHA-256 of its ``id``.
    """
    import pandas as pd

    fold = rows["id"].map(lambda name: hashlib.sha256(name.encode()).digest()[1] % FOLDS)
    found = pd.DataFrame(np.nan, index=rows.index, columns=["ttft_s", "tpot_s"])
    for one in range(FOLDS):
        left = fold == one
        found.loc[left, "ttft_s"], found.loc[left, "tpot_s"] = calibrated(rows[left], fit(rows[~left], rows_in_all=len(rows)))
    return found["ttft_s"].to_numpy(float), found["tpot_s"].to_numpy(float)


def _columns(rows: pd.DataFrame) -> list[Floats]:
    names = ("ttft_s", "tpot_s", "sim_ttft_s", "sim_tpot_s", "running", "prompt_tokens")
    return [rows[name].to_numpy(float) if name in rows else np.full(len(rows), np.nan) for name in names]


def _least_absolute(columns: Sequence[Floats], measured: Floats, *, trusted: bool = False) -> list[float]:
    """Coefficients ≥ 0 that minimise Σ |Σ coefficient × column / measured − 1|.

    ``trusted``: one more row says that the first coefficient is 1.
    """
    from scipy.optimize import nnls

    design = np.column_stack(columns) / measured[:, None]
    if trusted:
        design = np.vstack([design, np.eye(1, len(columns))])
    weights = ones = np.ones(len(design))
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        coefficients, _ = nnls(design * root[:, None], root)
        weights = 1 / np.maximum(np.abs(design @ coefficients - ones), _SMALLEST_DEVIATION)
    return [float(c) for c in coefficients]
