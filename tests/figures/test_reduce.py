"""Reductions for charts are exact where a plain count on a small case says what they must be."""

from __future__ import annotations

import numpy as np
import pytest

from figures.reduce import coarser, distribution, engine_time, most_under_way, per_second, tally, timeline, under_way
from tests.figures.synthetic import steps_table
from traces.slices import Slices


def test_a_distribution_counts_offered_requests_and_ends_below_one_when_some_have_no_value() -> None:
    curve = distribution(np.array([3.0, np.nan, 1.0, 2.0]), offered=4)
    assert curve.value.tolist() == [1, 2, 3]
    assert curve.share.tolist() == [0.25, 0.5, 0.75]
    assert (curve.within(2.0), curve.within(0.5)) == (0.5, 0.0)
    assert curve.quantile(0.5) == 2.0


def test_a_large_distribution_is_drawn_through_few_points_that_lie_on_it() -> None:
    values = np.random.default_rng(3).lognormal(size=100_000)
    curve = distribution(values, offered=100_000)
    assert len(curve.value) <= 170
    assert curve.share[-1] == 1.0
    assert [curve.within(v) for v in curve.value[::20]] == pytest.approx(curve.share[::20].tolist())


def test_without_values_there_is_no_curve() -> None:
    curve = distribution(np.array([np.nan]), offered=1)
    assert len(curve.value) == 0
    assert np.isnan(curve.quantile(0.5))
    assert curve.within(1.0) == 0.0


@pytest.mark.parametrize("end_s", [1e-3, 0.7, 59.9, 604.2, 86400.0])
def test_the_timeline_has_few_bins_of_a_round_width_and_covers_the_run(end_s: float) -> None:
    slices, edges = timeline(end_s)
    assert 100 <= slices.count <= 300
    assert edges[-1] >= end_s > edges[-2] - 1e-9
    assert len(edges) == slices.count + 1


def test_events_are_counted_in_their_bin() -> None:
    assert per_second(np.array([0.1, 0.2, 2.5, np.nan]), Slices(0, 4, 2)).tolist() == [1.0, 0.5]


def test_requests_under_way_are_averaged_over_each_bin() -> None:
    start, end = np.array([0.0, 1.0]), np.array([2.0, 4.0])
    assert under_way(start, end, Slices(0, 4, 4)).tolist() == [1, 2, 1, 1]
    assert most_under_way(start, end) == 2
    assert most_under_way(np.array([0.0, 2.0]), np.array([2.0, 3.0])) == 1, "one that ends makes room for one that starts"
    assert most_under_way(np.empty(0), np.empty(0)) == 0


def test_engine_time_is_the_exact_integral_of_the_steps_of_each_engine() -> None:
    steps = steps_table(engine=["b", "a", "b"], start_s=[0.0, 1.0, 3.0], duration_s=[1.0, 2.0, 1.0], kv_tokens_used=[10, 100, 30])
    found = engine_time(steps, ["a", "b", "idle"], Slices(0, 4, 2))
    assert found.busy.tolist() == [[0.5, 0.5], [0.5, 0.5], [0, 0]]
    assert found.kv_tokens.tolist() == [[50, 50], [5, 15], [0, 0]]
    assert found.kv_peak.tolist() == [100, 30, 0]


def test_tallies_leave_out_what_belongs_nowhere() -> None:
    code = np.array([0, 2, -1, 2], np.int32)
    assert tally(code, 4).tolist() == [1, 0, 2, 0]
    assert tally(code, 3, np.array([1.0, 2.0, 8.0, 4.0])).tolist() == [1, 0, 6]


def test_coarser_rows_are_means_of_neighbours() -> None:
    assert coarser(np.array([[1.0, 3.0, 5.0]]), 2).tolist() == [[2.0, 5.0]]
    assert coarser(np.array([[1.0, 3.0]]), 100).tolist() == [[1.0, 3.0]]
