"""vLLM's timed_trace on the way in: seconds, blocks, kept arrivals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from traces.errors import InputError
from traces.readers import read


def write(path: Path, *records: tuple[float, int, list[int]]) -> Path:
    fields = ("timestamp", "input_length", "hash_ids")
    path.write_text("".join(json.dumps({**dict(zip(fields, r, strict=True)), "output_length": 2}) + "\n" for r in records))
    return path


def test_seconds_and_arrivals_are_kept_as_written(tmp_path: Path) -> None:
    workload = read(write(tmp_path / "t.jsonl", (10.0, 17, [1, 2]), (12.5, 16, [1])))
    assert workload.source["format"] == "timed_trace"
    assert workload.arrival_s.tolist() == [10.0, 12.5]
    assert workload.block_tokens == 16
    assert workload.blocks_of(0).tolist() == [1, 2]


def test_vllms_multiplier_scales_time_so_that_a_mooncake_file_reads_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", (0, 1000, [1, 2]), (27482, 600, [1, 3]))
    workload = read(path, "timed_trace", sec_multiplier=0.001)
    assert workload.arrival_s.tolist() == pytest.approx(read(path, "mooncake").arrival_s.tolist())
    assert workload.block_tokens == 512


def test_a_multiplier_that_is_not_positive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sec_multiplier is 0"):
        read(write(tmp_path / "t.jsonl", (0.0, 5, [1])), sec_multiplier=0)


def test_negative_timestamps_count_from_the_first_request(tmp_path: Path) -> None:
    assert read(write(tmp_path / "t.jsonl", (-5.0, 5, [1]), (1.0, 5, [1]))).arrival_s.tolist() == [0, 6]
