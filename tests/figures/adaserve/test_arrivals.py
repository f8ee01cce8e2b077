"""The paper's arrivals: a published trace, cut and stretched."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from figures.adaserve import arrivals
from figures.adaserve.arrivals import PER_TEN_SECONDS
from figures.adaserve.settings import LLAMA, TRACE_SETS, traced
from traces.build import build_workload
from traces.scenario import load_scenario

FIRST_GAP_MS = {
    2.4: 7799.029647291011,
    2.8: 7190.053174716997,
    3.0: 6678.493331139439,
    3.6: 5701.063847861664,
    4.0: 5342.458604835351,
    4.2: 5018.111493323101,
}
FACTORS = {rate: gap_ms / 4314.579 for rate, gap_ms in FIRST_GAP_MS.items()}
"""The first gap in the artifact's file of that rate over the first gap of the Azure trace."""


@pytest.fixture
def since_s(shared_data: Path) -> list[float]:
    """The Azure trace's arrivals, from the first one on."""
    with gzip.open(shared_data / "traces" / "azure2023" / "AzureLLMInferenceTrace_conv.first40min.csv.gz", "rt") as file:
        times = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in csv.DictReader(file)]
    return [time - times[0] for time in times]


def test_the_counts_are_the_published_traces(since_s: list[float]) -> None:
    counts = np.histogram(since_s, bins=len(PER_TEN_SECONDS), range=(0, 10 * len(PER_TEN_SECONDS)))[0]
    assert tuple(counts) == PER_TEN_SECONDS


@pytest.mark.parametrize("rate", FACTORS)
def test_the_artifacts_trace_ends_with_its_last_request_after_six_minutes(rate: float, since_s: list[float]) -> None:
    trace = arrivals.named(rate)
    requests = round(trace.rate * arrivals.LENGTH_S)
    assert requests % 100 == 0
    assert since_s[requests - 1] * FACTORS[rate] == pytest.approx(arrivals.LENGTH_S, abs=1e-3)
    assert trace.step_s == pytest.approx(10 * FACTORS[rate], rel=0.01)


@pytest.mark.parametrize(("rate", "requests"), [(2.4, 900), (2.6, 900), (3.0, 1100), (4.0, 1400), (4.8, 1700)])
def test_a_run_has_as_many_requests_as_the_trace_and_is_busiest_in_its_middle(rate: float, requests: int) -> None:
    found = build_workload(load_scenario(LLAMA.scenario, (f"workload={traced(LLAMA, rate)}", *TRACE_SETS, "seed=3"))).workload
    came = np.asarray(found.arrival_s)
    assert abs(len(came) - requests) < 4 * requests**0.5
    assert came.max() <= arrivals.LENGTH_S
    first, third = ((came < 60).sum(), ((came >= 120) & (came < 180)).sum())
    assert first < 0.8 * third


def test_a_shorter_run_has_the_same_shape_and_rate() -> None:
    assert arrivals.named(4.2, 36.0).rate == arrivals.named(4.2).rate
    assert arrivals.named(4.2, 36.0).step_s == pytest.approx(arrivals.named(4.2).step_s / 10)
