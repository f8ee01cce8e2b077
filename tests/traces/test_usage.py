"""The time that engines spend in steps, where rows of the steps table overlap and where they do not."""

from __future__ import annotations

import pyarrow as pa
import pytest

from traces.usage import own_time


def test_time_that_two_batches_of_an_engine_share_counts_once() -> None:
    steps = pa.table(
        {
            "engine": ["e0", "e1", "e0", "e1", "e0"],
            "start_s": [0.0, 0.0, 1.0, 2.0, 5.0],
            "duration_s": [2.0, 2.0, 2.0, 1.0, 1.0],
        }
    )
    start, end = own_time(steps)
    assert start.tolist() == [0.0, 0.0, 2.0, 2.0, 5.0]
    assert end.tolist() == [2.0, 2.0, 3.0, 3.0, 6.0]
    assert (end - start).sum() == pytest.approx(4.0 + 3.0)


def test_rounding_moves_no_start() -> None:
    steps = pa.table({"engine": ["e0", "e0"], "start_s": [0.1, 0.3 - 1e-16], "duration_s": [0.2 + 1e-12, 0.1]})
    assert own_time(steps)[0].tolist() == [0.1, 0.3 - 1e-16]


def test_no_steps_take_no_time() -> None:
    empty = pa.table({"engine": pa.array([], pa.string()), "start_s": pa.array([], "f8"), "duration_s": pa.array([], "f8")})
    assert [len(times) for times in own_time(empty)] == [0, 0]
