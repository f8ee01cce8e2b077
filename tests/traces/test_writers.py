"""What is written can be read again, whole or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.types import SLO
from traces import writers
from traces.errors import InputError
from traces.readers import read
from traces.workload import RequestClass, Workload
from traces.writers import write

CLASSES = (
    RequestClass("chat, short", "gold", "llama-3.1-8b", False, SLO(0.5, 0.03), 99.5),
    RequestClass("batch", "best effort", offline=True),
)


@st.composite
def workloads(draw: st.DrawFn, *, blocks: bool | None = None) -> Workload:
    n = draw(st.integers(1, 12))
    tokens = st.lists(st.integers(1, 2**31 - 1 if blocks is False else 3000), min_size=n, max_size=n)
    arrivals = st.lists(st.floats(0, 1e7, allow_subnormal=False), min_size=n, max_size=n)
    numbers = st.lists(st.integers(-1, 2**62), min_size=n, max_size=n)
    rest: dict[str, Any] = {"session": np.array(draw(numbers)) if draw(st.booleans()) else None}
    prompt = np.array(draw(tokens))
    if draw(st.booleans()) if blocks is None else blocks:
        block_tokens = draw(st.sampled_from([16, 512]))
        counts = -(-prompt // block_tokens)
        ids = np.array(draw(st.lists(st.integers(0, 50), min_size=int(counts.sum()), max_size=int(counts.sum()))), np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rest |= {"block_offsets": offsets, "block_ids": ids, "block_tokens": block_tokens}
    klass = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    source = {"name": "made up", "seed": 3, "notes": ["by hand"]}
    return Workload.make(sorted(draw(arrivals)), prompt, draw(tokens), klass=klass, classes=CLASSES, source=source, **rest)


def same_columns(one: Workload, two: Workload, *names: str) -> bool:
    pairs = [(getattr(one, name), getattr(two, name)) for name in names]
    return all(
        (a is None and b is None) or (a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b))
        for a, b in pairs
    )


once = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@once
@given(workload=workloads())
def test_parquet_keeps_everything(tmp_path: Path, workload: Workload) -> None:
    path = tmp_path / "w.parquet"
    assert write(workload, path) == []
    back = read(path)
    assert same_columns(
        workload, back, "arrival_s", "prompt_tokens", "output_tokens", "klass", "session", "block_offsets", "block_ids"
    )
    assert (back.classes, back.block_tokens) == (workload.classes, workload.block_tokens)
    assert back.source["notes"] == ["by hand"]
    assert (back.source["name"], back.source["format"]) == ("made up", "twinserve")
    assert back.source["written_from"] == {"name": "made up", "seed": 3}


@once
@given(workload=workloads(blocks=False), ending=st.sampled_from(["", ".gz", ".zst"]))
def test_csv_keeps_columns_and_class_names(tmp_path: Path, workload: Workload, ending: str) -> None:
    path = tmp_path / f"w.csv{ending}"
    write(workload, path)
    back = read(path)
    assert same_columns(workload, back, "arrival_s", "prompt_tokens", "output_tokens", "session")
    assert [back.classes[k].name for k in back.klass] == [workload.classes[k].name for k in workload.klass]


@once
@given(workload=workloads(blocks=True), ending=st.sampled_from(["", ".gz", ".zst"]))
def test_timed_trace_keeps_exact_times_lengths_and_blocks(tmp_path: Path, workload: Workload, ending: str) -> None:
    path = tmp_path / f"w.jsonl{ending}"
    write(workload, path, "timed_trace")
    back = read(path, block_tokens=workload.block_tokens)
    assert back.source["format"] == "timed_trace"
    assert same_columns(workload, back, "arrival_s", "prompt_tokens", "output_tokens", "block_offsets", "block_ids")


@once
@given(workload=workloads(blocks=True))
def test_mooncake_keeps_milliseconds_lengths_and_blocks(tmp_path: Path, workload: Workload) -> None:
    path = tmp_path / "w.jsonl"
    write(workload, path, "mooncake")
    back = read(path, block_tokens=workload.block_tokens)
    assert back.source["format"] == "mooncake"
    assert np.abs(back.arrival_s - (workload.arrival_s - workload.arrival_s[0])).max() <= 0.001 + 1e-9
    assert same_columns(workload, back, "prompt_tokens", "output_tokens", "block_offsets", "block_ids")


def small(**rest: Any) -> Workload:
    return Workload.make([0.25, 1.5, 2.0], [1000, 3, 513], [5, 6, 7], **rest)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_timed_trace_line_is_what_vllm_bench_reads(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    notes = write(
        small(block_offsets=np.array([0, 2, 3, 5]), block_ids=np.array([4, 5, 9, 4, 6]), block_tokens=512), path, "timed_trace"
    )
    assert records(path)[0] == {"timestamp": 0.25, "input_length": 1000, "output_length": 5, "hash_ids": [4, 5]}
    assert any("--timed-trace-chunk-hash-size 512 --timed-trace-sec-multiplier 1" in note for note in notes)


def test_blocks_that_are_unknown_are_made_up_so_that_vllm_sends_whole_prompts_and_shares_none(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write(small(), path, "timed_trace")
    ids = [record["hash_ids"] for record in records(path)]
    assert [len(row) for row in ids] == [2, 1, 2]
    assert len({block for row in ids for block in row}) == 5


def test_prompts_that_are_known_in_part_keep_their_known_blocks(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    known = {"block_offsets": np.array([0, 1, 1, 2]), "block_ids": np.array([1, 1]), "block_tokens": 512}
    write(small(**known), path, "timed_trace")
    first, second, third = (record["hash_ids"] for record in records(path))
    assert first[0] == third[0] == 1
    assert len({first[1], second[0], third[1], 1}) == 4


def test_mooncake_without_blocks_has_no_hash_ids(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write(small(), path, "mooncake")
    assert records(path)[0] == {"timestamp": 250, "input_length": 1000, "output_length": 5}


def test_equal_workloads_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv.gz", "a.csv.zst"):
        write(small(), tmp_path / name)
        write(small(), tmp_path / f"second-{name}")
        assert (tmp_path / name).read_bytes() == (tmp_path / f"second-{name}").read_bytes()
    assert (tmp_path / "a.csv.gz").read_bytes()[4:8] == bytes(4)  # gzip's time of writing


def test_what_csv_cannot_hold_is_said(tmp_path: Path) -> None:
    workload = small(block_offsets=np.array([0, 1, 1, 1]), block_ids=np.array([1]), block_tokens=512)
    assert "prefix blocks" in write(workload, tmp_path / "w.csv")[0]


def test_an_unclear_or_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"the ending '.jsonl' does not tell the format; give format: twinserve, csv, mooncake, timed_trace"
    ):
        write(small(), tmp_path / "w.jsonl")
    with pytest.raises(InputError, match="format 'azure' is not known"):
        write(small(), tmp_path / "w.csv", "azure")
    with pytest.raises(InputError, match="cannot be written"):
        write(small(), tmp_path / "none" / "w.csv")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.jsonl.gz"
    path.write_bytes(gzip.compress(b"before"))

    def interrupted(*_: object) -> Any:
        yield "half a line"
        raise KeyboardInterrupt

    monkeypatch.setattr(writers, "_lines", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(small(), path, "mooncake")
    assert gzip.decompress(path.read_bytes()) == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_parquet_file_of_another_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "VERSION", 99)
    write(small(), tmp_path / "w.parquet")
    with pytest.raises(InputError, match="another version of TwinServe"):
        read(tmp_path / "w.parquet")
