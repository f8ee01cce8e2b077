"""Did a request meet its SLO? One verdict per request, in the modes that the papers use.

| mode        | judged if the SLO has | met by a completed request whose                                                        |
|-------------|-----------------------|-----------------------------------------------------------------------------------------|
| `ttft+tpot` | TTFT or TPOT          | TTFT and mean TPOT are within their limits (DistServe; with TPOT alone: AdaServe)       |
| `dslo`      | TTFT and TPOT         | token i, from 0, came by arrival + TTFT + i·TPOT, for every i (PolyServe)               |
| `e2e`       | E2E                   | E2E is within its limit (iServe)                                                        |
| `auto`      | any of them           | stated limits all hold: `ttft+tpot` for a class with those, `e2e` for a class with that |

Offered requests that are shed, failed or unfinished miss. A request without the SLO is not judged and counts in neither part of
the ratio. A single output token has no TPOT, hence meets any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from traces.tables import codes, floats

MODES = ("auto", "ttft+tpot", "dslo", "e2e")
TOLERANCE_S = 1e-9
"""Rounding in times that count seconds from the run's start; far below anything that a user could notice."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Per row of requests.parquet. ``met`` implies ``judged``; the ``late_`` masks name the limits that a row missed.

    ``strain`` orders judged rows by how near they came to a miss: the share of its tightest limit that a row used, or its lateness
    (s) in mode `dslo`; infinite where it did not complete.
    """

    judged: Mask
    met: Mask
    admitted: Mask
    late_ttft: Mask
    late_tpot: Mask
    late_e2e: Mask
    strain: Floats


def judge(requests: pa.Table, mode: str = "auto") -> Verdicts:
    """The verdict on every row.

    Raises:
        ValueError: no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"verdict {mode!r} is not one of {', '.join(MODES)}")
    outcome, names = codes(requests, "outcome")
    completed = outcome == (names.index("completed") if "completed" in names else -2)
    shed = outcome == (names.index("shed") if "shed" in names else -2)
    engine, _ = codes(requests, "engine")
    limits = {name: floats(requests, f"slo_{name}_s") for name in ("ttft", "tpot", "e2e")}
    has = {name: ~np.isnan(limit) for name, limit in limits.items()}
    late = {}
    for name, limit in limits.items():
        with np.errstate(invalid="ignore"):
            late[name] = floats(requests, f"{name}_s") > limit + TOLERANCE_S
    # A request without a first token misses its TTFT; one that was cut short while in time misses by not being completed.
    late["ttft"] |= has["ttft"] & np.isnan(floats(requests, "ttft_s"))
    used = {name: _used(floats(requests, f"{name}_s"), limit) for name, limit in limits.items()}
    if mode == "dslo":
        judged = has["ttft"] & has["tpot"]
        strain = floats(requests, "dslo_lateness_s")
        in_time = strain <= TOLERANCE_S
    elif mode == "e2e":
        judged, in_time, strain = has["e2e"], ~late["e2e"], used["e2e"]
    else:
        judged, in_time = has["ttft"] | has["tpot"], ~(late["ttft"] | late["tpot"])
        strain = np.maximum(used["ttft"], used["tpot"])
        if mode == "auto":
            judged, in_time, strain = judged | has["e2e"], in_time & ~late["e2e"], np.maximum(strain, used["e2e"])
    strain = np.where(completed & ~np.isnan(strain), strain, np.inf)
    admitted = (engine >= 0) & ~shed
    return Verdicts(judged, judged & completed & in_time, admitted, late["ttft"], late["tpot"], late["e2e"], strain)


def _used(latency_s: Floats, limit_s: Floats) -> Floats:
    """Share of a limit that is used up; 0 where there is no limit or no latency to hold it against."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = latency_s / limit_s
    return np.where(np.isnan(share), 0.0, share)
