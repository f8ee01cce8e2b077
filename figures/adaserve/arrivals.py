"""When requests come in the paper's evaluation: a published trace, cut and stretched to six minutes.

The artifact's files (exps/fig8,9/emission_rps*_ol256.json) begin with the gaps of the Azure LLM inference trace 2023
(conversation), from its first request on, times a factor: 1.80760 in the file of 2.4 requests per second, 1.66646 in that of 2.8,
1.54789 at 3.0, 1.32135 at 3.6, 1.23823 at 4.0 and 1.16306 at 4.2. Each puts the request whose number is 3.6 × 100 × rate, rounded
to whole hundreds, at 360 s to the microsecond, where the files that were looked at (2.4, 3.0) end: within 4 % of the rate that
they are named after (2.5 requests per second at 2.4 and at 2.6, 4.72 at 4.8).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LENGTH_S = 360.0
PER_TEN_SECONDS = (
    *(13, 18, 28, 30, 58, 44, 51, 44, 46, 39, 39, 46, 52, 43, 62, 58, 59, 55),
    *(70, 46, 54, 64, 57, 62, 44, 57, 51, 48, 55, 52, 56, 42, 48, 37, 48, 42),
)
"""Requests in each ten seconds of the trace (AzureLLMInferenceTrace_conv.csv, Azure/AzurePublicDataset): it starts slowly and is
busiest in its third and fourth minute."""


class Trace(NamedTuple):
    """One of the artifact's traces. ``rate``: requests per second that come in it. ``step_s``: what ten seconds became."""

    rate: float
    step_s: float

    def arrivals(self) -> dict[str, object]:
        """As a scenario's key ``arrivals``: Poisson within the steps, as the trace nearly is (its gaps' CV there is 1.03)."""
        return {"varying": {"profile": list(PER_TEN_SECONDS), "step": round(self.step_s, 4)}}


def named(rate: float, length_s: float = LENGTH_S) -> Trace:
    """The trace that the paper calls ``rate`` requests per second, pressed into ``length_s``."""
    requests = 100 * round(3.6 * rate)
    counted = np.concatenate([[0], np.cumsum(PER_TEN_SECONDS)])
    cut_s = float(np.interp(requests, counted, 10.0 * np.arange(len(counted))))
    return Trace(requests / LENGTH_S, 10.0 * length_s / cut_s)
