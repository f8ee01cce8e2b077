from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from traces.slices import Slices

FOUR = Slices(10.0, 14.0, 4)


def test_an_event_falls_into_the_slice_that_starts_with_it():
    times = np.array([9.9, 10.0, 10.5, 13.0, 14.0, np.nan])
    assert FOUR.positions(times).tolist() == [0, 1, 1, 4, 5, 5]
    assert FOUR.happened(FOUR.positions(times)).tolist() == [2, 0, 0, 1]


def test_weights_are_summed_per_slice():
    times = np.array([10.0, 10.9, 12.0])
    assert FOUR.happened(FOUR.positions(times), np.array([1.0, 2, 5])).tolist() == [3, 0, 5, 0]


def test_a_flow_is_shared_among_the_slices_that_it_crosses():
    # 2 per second from 9 to 11.5 s, 10 per second from 13.75 to 20 s
    flowed = FOUR.flowed(np.array([9.0, 13.75]), np.array([11.5, 20.0]), np.array([2.0, 10.0]))
    assert flowed == pytest.approx([2, 1, 0, 2.5])


def test_a_flow_equals_the_sum_over_its_rows():
    rng = np.random.default_rng(3)
    start = rng.uniform(5, 18, 200)
    end = start + rng.exponential(1.5, 200)
    rate = rng.uniform(0, 9, 200)
    edges = np.linspace(10, 14, 5)
    slow = [
        sum(r * max(0.0, min(b, hi) - max(a, lo)) for a, b, r in zip(start, end, rate, strict=True)) for lo, hi in pairwise(edges)
    ]
    assert FOUR.flowed(start, end, rate) == pytest.approx(slow)
