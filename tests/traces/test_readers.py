"""Choosing a reader, refusing bad input in one line, and saying where a workload came from."""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from traces.errors import InputError
from traces.readers import FORMATS, files, read

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = "2023-11-16 18:15:46.6805900,374,44\n"
NEXT = "2023-11-16 18:15:50.9951690,396,109\n"
JSON_ROW = '{"timestamp": 0, "input_length": 5, "output_length": 3}\n'


def fault(path: Path, format: str | None = None, **options: object) -> str:
    """The one line that reading the file gives."""
    with pytest.raises(InputError) as caught:
        read(path, format, **options)
    (line,) = caught.value.faults
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


@pytest.fixture
def trace(tmp_path: Path):
    def make(content: str | bytes, name: str = "trace.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEADER + ROW, "azure"),
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,4,2,6,API log\n", "burstgpt"),
        (JSON_ROW, "mooncake"),
        (JSON_ROW.replace("0,", "0.0,", 1), "timed_trace"),
        ('{"chat_id": 1, "timestamp": 0.5, "input_length": 5, "output_length": 3}\n', "mooncake"),
        ("arrival_s,prompt_tokens,output_tokens\n0,1,1\n", "table"),
    ],
)
def test_the_format_is_recognised_by_the_fields_whatever_the_name(trace, content: str, expected: str) -> None:
    assert read(trace(content, "whatever.dat")).source["format"] == expected


@pytest.mark.parametrize(
    ("ending", "compress"),
    [(".gz", gzip.compress), (".zst", zstandard.ZstdCompressor().compress), (".csv", gzip.compress), (".gz", lambda data: data)],
)
def test_compression_is_seen_through_by_content_not_by_name(trace, ending: str, compress) -> None:
    workload = read(trace(compress((HEADER + ROW + NEXT).encode()), "trace" + ending))
    assert workload.prompt_tokens.tolist() == [374, 396]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_files_made_of_several_compressed_parts_are_read_whole(trace, compress) -> None:
    assert len(read(trace(compress((HEADER + ROW).encode()) + compress(NEXT.encode()), "trace.csv.x"))) == 2


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_truncated_compressed_data_is_refused(trace, compress) -> None:
    whole = compress((HEADER + ROW * 500).encode())
    assert "truncated" in fault(trace(whole[:-6], "trace.csv.z"))


def test_damaged_gzip_data_is_refused(trace) -> None:
    whole = bytearray(gzip.compress((HEADER + ROW).encode()))
    whole[-6] ^= 0xFF  # the checksum
    assert "damaged gzip data" in fault(trace(bytes(whole), "trace.csv.gz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty file: 0 requests"),
        (HEADER, "0 requests"),
        (b"\x00\x01\x02\xff" * 99, "binary data, not a trace"),
        (bytes(range(128, 256)) * 9, "binary data, not a trace"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4b\n", "a Git LFS pointer"),
        (b"PAR1" + b"\x00" * 50, "damaged Parquet file"),
        ('[{"timestamp": 0}]', "a JSON array; a JSONL trace has one object per line"),
        ('{"timestamp": \n', "the first record is not a JSON object"),
        ("a,b\n1,2\n", "no known format has its columns ('a', 'b')"),
        (HEADER + ROW + "2023-11-16 18:15:50,-3,44\n", "line 3: ContextTokens is -3"),
        (HEADER + ROW + "\n\n2023-11-16 18:15:50,NaN,44\n", "line 5: ContextTokens is nan"),
        (HEADER + "2023-11-16 18:15:50,3,4.5\n", "line 2: GeneratedTokens is 4.5"),
        (HEADER + "2023-11-16 18:15:50,3,\n", "line 2: GeneratedTokens is empty"),
        (HEADER + "2023-11-16 18:15:50,99999999999,3\n", "line 2: ContextTokens is 1e+11"),
        (HEADER + "2023-11-16 18:15:50,many,3\n", "line 2: ContextTokens is 'many', not a number"),
        (HEADER + ROW + "2023-11-16 18:1", "line 3: 1 of 3 columns"),
        (HEADER + ROW + "9999-01-01 00:00:00,3,4\n", "TIMESTAMP: "),
        (HEADER + ROW + "yesterday,3,4\n", "line 3: TIMESTAMP is 'yesterday', not a time like '2023-11-16 18:15:46.6805900'"),
        (HEADER + ROW + "2023-11-16 18:15:50+00:00,3,4\n", "line 3: TIMESTAMP is '2023-11-16 18:15:50+00:00', not a time"),
        (HEADER + "\r\n" + ROW + "2023-11-16 18:15:45,3,4\r\n", "line 4: TIMESTAMP is earlier than on the line above"),
        (JSON_ROW + '{"timestamp": 1, "input_le', "line 2: not valid JSON"),
        (JSON_ROW + "[1]\n", "line 2: not a JSON object"),
        (JSON_ROW + '{"timestamp": 1, "output_length": 3}\n', "line 2: input_length is empty"),
        (JSON_ROW + '{"timestamp": 1, "input_length": "9", "output_length": 3}\n', 'line 2: input_length is "9", not a number'),
        (JSON_ROW + '{"timestamp": 1, "input_length": NaN, "output_length": 3}\n', "line 2: input_length is nan"),
        (JSON_ROW + '{"timestamp": null, "input_length": 1, "output_length": 3}\n', "line 2: timestamp is empty"),
    ],
)
def test_a_bad_file_gives_one_line_that_says_where_and_what(trace, content: str | bytes, message: str) -> None:
    assert message in fault(trace(content))


def test_a_fault_far_into_a_file_is_named_with_its_line(trace) -> None:
    rows = 150_000  # several blocks
    path = trace(HEADER + ROW * rows + "2023-11-16 18:15:46.6805900,-1,44\n")
    assert f"line {rows + 2}: ContextTokens is -1" in fault(path)


def test_the_remedy_for_unsorted_arrivals_works(trace) -> None:
    path = trace(HEADER + NEXT + ROW)
    assert "give sort: true" in fault(path)
    workload = read(path, sort=True)
    assert workload.prompt_tokens.tolist() == [374, 396]
    assert workload.arrival_s.tolist() == pytest.approx([0, 4.314579])
    assert "requests sorted by arrival" in workload.source["notes"]


@pytest.mark.parametrize("rows", range(3, 12))
def test_arrivals_that_go_backwards_are_seen_wherever_a_block_ends(trace, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(files, "_READ_BYTES", 100)
    monkeypatch.setattr(files, "_BLOCK_BYTES", 100)
    stamps = [*range(10, 10 + rows), 8.5 + rows]  # the last is half a second before the one above it
    path = trace("Timestamp,Request tokens,Response tokens\n" + "".join(f"{stamp},1,1\n" for stamp in stamps))
    assert f"line {rows + 2}: Timestamp is earlier" in fault(path)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in fault(tmp_path / "none.csv")
    assert "no chunk-N-trace.csv" in fault(tmp_path)


def test_the_wrong_format_names_missing_and_found_columns(trace) -> None:
    line = fault(trace("TIMESTAMP,b\n1,2\n"), "azure")
    assert "no column 'ContextTokens', 'GeneratedTokens'; found 'TIMESTAMP', 'b'" in line


def test_when_no_format_fits_the_message_names_those_tried(trace) -> None:
    line = fault(trace("a,b\n1,2\n"))
    for name, known in FORMATS.items():
        assert f"{name} ({', '.join(known.columns)})" in line


def test_unknown_formats_and_options_are_refused_with_the_known_ones(trace) -> None:
    path = trace(HEADER + ROW)
    assert "give one of twinserve, azure" in fault(path, "nope")
    assert "format azure has no option 'jitter'; it has sort, drop_failed" in fault(path, jitter=True)
    assert "option sort is 'yes'; give a value of type bool" in fault(path, sort="yes")
    assert "give a value of type int or none" in fault(trace(JSON_ROW, "m.jsonl"), block_tokens=True)


def test_requests_with_zero_tokens_are_left_out_and_counted_or_refused(trace) -> None:
    path = trace(HEADER + ROW + "2023-11-16 18:15:50,3,0\n")
    workload = read(path)
    assert len(workload) == 1
    assert workload.source["notes"] == ["1 of 2 requests have 0 tokens (failures) and are left out"]
    assert "line 3: GeneratedTokens is 0" in fault(path, drop_failed=False)


def test_the_source_tells_file_hash_format_and_options_but_no_path(trace) -> None:
    path = trace(HEADER + ROW)
    source = read(path, sort=True).source
    assert source == {
        "name": "trace",
        "file": "trace.csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": "azure",
        "options": {"sort": True},
        "notes": [],
    }


def test_a_file_named_like_a_published_trace_has_its_name_and_licence(trace) -> None:
    source = read(trace(HEADER + ROW, "AzureLLMInferenceTrace_conv.part.csv")).source
    assert (source["name"], source["licence"]) == ("azure-2023-conv", "CC-BY-4.0")
    assert re.search("named like azure-2023-conv but not byte-identical", source["notes"][0])


def test_byte_order_marks_and_windows_line_ends_are_accepted(trace) -> None:
    content = "\ufeff" + (HEADER + ROW + NEXT).replace("\n", "\r\n")
    assert read(trace(content)).output_tokens.tolist() == [44, 109]


def test_zones_are_kept_apart_from_their_absence_in_every_block(trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_READ_BYTES", 100)
    monkeypatch.setattr(files, "_BLOCK_BYTES", 100)
    path = trace(HEADER + ROW * 9 + "2023-11-16 18:15:50+02:00,3,4\n")
    assert "line 11: TIMESTAMP is '2023-11-16 18:15:50+02:00', not a time like" in fault(path)


def test_a_clock_that_is_set_back_in_its_zone_goes_on_in_time(trace) -> None:
    rows = [("2024-10-27T02:59:59+02:00", 1), ("2024-10-27T02:00:00+01:00", 2), ("2024-10-27T01:00:01Z", 3)]
    workload = read(trace(HEADER + "".join(f"{at},{n},1\n" for at, n in rows)))
    assert workload.arrival_s.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the machine's zone cannot be changed here")
def test_the_machines_own_zone_has_no_say(trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night in which clocks are set forward in New York: there is no 02:30 there."""
    path = trace(HEADER + "".join(f"2024-03-10 0{hour}:30:00,3,4\n" for hour in (1, 2, 3)))
    try:
        for zone in ("UTC", "America/New_York", "Asia/Kathmandu"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert read(path).arrival_s.tolist() == [0.0, 3600.0, 7200.0]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_reading_imports_no_pandas(trace) -> None:
    paths = [
        trace(HEADER + ROW),
        trace(JSON_ROW, "m.jsonl"),
        trace("arrival_s,prompt_tokens,output_tokens,class\n0,1,1,chat\n", "t.csv"),
    ]
    code = (
        "import sys; from pathlib import Path; from traces.readers import read; from traces.writers import write; "
        f"w = [read(Path(p)) for p in {[str(p) for p in paths]!r}][-1]; p = Path({str(paths[0].parent)!r}); "
        "[write(w, p / n, f) for n, f in (('o.csv', None), ('o.parquet', None), ('o.jsonl', 'timed_trace'))]; "
        "read(p / 'o.parquet'); "
        "sys.exit('pandas' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
