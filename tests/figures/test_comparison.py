"""The sentence that a comparison begins with."""

from __future__ import annotations

import pytest

from figures.comparison import verdict
from traces.compare import Comparison, Difference, Finding


def ttft(statistic: str, finding: Finding) -> Difference:
    return Difference("all", f"ttft_s.{statistic}", 0.046, 0.034, -0.013, -0.011, 4000, finding, None)


def said(*differences: Difference) -> str:
    return verdict(Comparison(("a", "b"), [1, 2, 3], differences, 0.5, []))


@pytest.mark.parametrize("finding", [Finding.UNKNOWN, Finding.NOT_SHOWN])
def test_where_the_p99_does_not_tell_the_mean_does(finding: Finding) -> None:
    text = said(ttft("p99", finding), ttft("mean", Finding.SHOWN))
    assert text.startswith("TTFT mean is 12.0 ± 1.0 ms shorter; TTFT p99: ")


def test_where_the_p99_tells_the_mean_is_not_heard() -> None:
    assert said(ttft("p99", Finding.SHOWN), ttft("mean", Finding.SHOWN)) == "TTFT p99 is 12.0 ± 1.0 ms shorter."


def test_a_mean_that_does_not_differ_stands_in_for_nothing() -> None:
    assert said(ttft("p99", Finding.UNKNOWN), ttft("mean", Finding.NOT_SHOWN)) == "TTFT p99: the runs are too short to tell."
