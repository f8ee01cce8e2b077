"""Long traces take the memory of what is wanted of them; what unpacks without end, or is one endless line, takes none."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.reading import long_trace, measured
from traces.build import build_workload
from traces.errors import InputError
from traces.readers import files, read
from traces.readers.files import TraceFile
from traces.scenario import load_scenario
from traces.transforms import slice_time
from traces.workload import Workload

MIB = 1 << 20


def test_an_hour_of_a_trace_takes_no_more_memory_when_the_trace_is_longer(tmp_path: Path) -> None:
    peaks = {}
    for size in (5, 40):
        long_trace(tmp_path / "long.csv", size * 1_000_000)
        requests, peaks[size], _ = measured(tmp_path / "long.csv", (3600.0, 7200.0))
        assert requests < 101_000
    assert peaks[40] < peaks[5] + 12, f"MiB by MB of file: {peaks}; all columns of the longer one would be 19 more"


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=40),
    start=st.sampled_from([0.0, 0.5, 4.0]),
    length=st.sampled_from([0.25, 2.0, 50.0]),
    form=st.sampled_from(["azure", "burstgpt", "table", "own"]),
)
def test_a_slice_is_the_same_whether_it_is_cut_while_reading_or_after(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[float], start: float, length: float, form: str
) -> None:
    path = tmp_path_factory.mktemp("slice") / "t.csv"
    at = np.cumsum([10.0, *gaps])
    lines = {
        "azure": ["TIMESTAMP,ContextTokens,GeneratedTokens"]
        + [f"2024-05-10 00:{int(t // 60):02d}:{t % 60:07.4f},{i + 1},2" for i, t in enumerate(at)],
        "burstgpt": ["Timestamp,Session ID,Request tokens,Response tokens"]
        + [f"{t},s{i % 3},{i + 1},{2 * (i % 5 > 0)}" for i, t in enumerate(at)],
        "table": ["at,p,o,class"] + [f"{t * 1000},{i + 1},2,k{i % 2}" for i, t in enumerate(at)],
        "own": ["arrival_s,prompt_tokens,output_tokens"] + [f"{t},{i + 1},2" for i, t in enumerate(at)],
    }[form]
    path.write_text("\n".join(lines))
    options = {"arrival": "at", "prompt": "p", "output": "o", "unit": "ms"} if form == "table" else {}
    whole, part = read(path, None, **options), read(path, None, (start, start + length), **options)
    assert len(part) <= len(whole)
    wanted, found = cut(whole, start, start + length), cut(part, start, start + length)
    if isinstance(wanted, str):
        assert found == wanted
        return
    assert not isinstance(found, str)
    for column in ("arrival_s", "prompt_tokens", "output_tokens", "klass"):
        assert getattr(found, column).tolist() == getattr(wanted, column).tolist()
    assert found.source["notes"] == wanted.source["notes"]


def cut(workload: Workload, start_s: float, end_s: float) -> Workload | str:
    """The slice, or why there is none."""
    try:
        return slice_time(workload, start_s, end_s)
    except InputError as error:
        return str(error)


def test_a_scenario_reads_only_what_its_duration_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_trace(tmp_path / "long.csv", 2_000_000)
    (tmp_path / "s.yaml").write_text(
        "model: llama-3.1-8b\nfleet: {gpu: h200, gpus: 1}\nduration: 30s\n"
        "workload: [{name: w, trace: {file: long.csv, start: 60s}}]\n"
    )
    spans = []
    monkeypatch.setattr(
        "traces.build.read", lambda path, format, span_s, **rest: spans.append(span_s) or read(path, format, span_s)
    )
    workload = build_workload(load_scenario(tmp_path / "s.yaml")).workload
    assert spans == [(60.0, 90.0)]
    assert len(workload) == pytest.approx(30 / 0.036, abs=2)
    assert build_workload(load_scenario(tmp_path / "s.yaml", ["workload.w.rate=5/s"])).workload.mean_rate == pytest.approx(5)
    assert spans[1] == (60.0, np.inf), "a rate is one of the whole rest"


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.ZstdCompressor(level=1).compress])
def test_what_unpacks_to_much_comes_in_small_parts_until_it_is_refused(tmp_path: Path, packed, monkeypatch) -> None:
    monkeypatch.setattr(files, "_LONGEST_LINE", 32 * MIB)
    bomb = tmp_path / "bomb.csv"
    bomb.write_bytes(packed(b"TIMESTAMP,ContextTokens,GeneratedTokens\n" + bytes([48]) * (200 * MIB)))
    assert bomb.stat().st_size < MIB
    with pytest.raises(InputError, match="a line is longer than 32 MiB"):
        list(TraceFile(bomb).blocks())
    assert max(map(len, TraceFile(bomb).chunks())) <= 129 * MIB


def test_parts_of_a_compressed_file_join_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 1000)
    text = bytes(range(256)) * 5000
    for name, data in {"a": gzip.compress(text) + gzip.compress(text), "b": zstandard.ZstdCompressor().compress(text) * 2}.items():
        (tmp_path / name).write_bytes(data)
        assert b"".join(TraceFile(tmp_path / name).chunks()) == text * 2


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LONGEST_LINE", MIB)
    monkeypatch.setattr(files, "_BLOCK_BYTES", MIB // 4)
    out = io.BytesIO(b"arrival_s,prompt_tokens,output_tokens\n0,1,1\n")
    (tmp_path / "t.csv").write_bytes(out.getvalue() + b"1" * (3 * MIB))
    with pytest.raises(InputError, match="longer than 1 MiB"):
        read(tmp_path / "t.csv")
