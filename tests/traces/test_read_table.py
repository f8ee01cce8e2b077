"""Tables whose columns the user names."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from traces.errors import InputError
from traces.readers import read

LOG = "when,model,tokens_in,tokens_out,user\n1700000000.5,a,10,2,u1\n1700000001.75,b,20,3,\n1700000003.5,a,30,4,u1\n"


def put(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_named_columns_are_enough(tmp_path: Path) -> None:
    workload = read(
        put(tmp_path / "log.csv", LOG), arrival="when", prompt="tokens_in", output="tokens_out", session="user", klass="model"
    )
    assert workload.arrival_s.tolist() == [0, 1.25, 3]
    assert workload.prompt_tokens.tolist() == [10, 20, 30]
    assert [workload.classes[k].name for k in workload.klass] == ["a", "b", "a"]
    assert workload.session is not None
    assert workload.session.tolist() == [0, -1, 0]


@pytest.mark.parametrize(("unit", "seconds"), [("s", 1500.0), ("ms", 1.5), ("us", 0.0015)])
def test_numbers_are_in_the_given_unit(tmp_path: Path, unit: str, seconds: float) -> None:
    path = put(tmp_path / "log.csv", "t,p,o\n500,1,1\n2000,1,1\n")
    assert read(path, arrival="t", prompt="p", output="o", unit=unit).arrival_s.tolist() == pytest.approx([0, seconds])


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_written_times_are_understood_in_every_container(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    stamps = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:02.5Z"]
    if suffix == "csv":
        put(path, "t,p,o\n" + "".join(f"{stamp},1,2\n" for stamp in stamps))
    elif suffix == "jsonl":
        put(path, "".join(f'{{"t": "{stamp}", "p": 1, "o": 2}}\n' for stamp in stamps))
    else:
        instants = pa.array(stamps).cast(pa.timestamp("us", "UTC"))
        pq.write_table(pa.table({"t": instants, "p": pa.array([1, 1], pa.uint8()), "o": [2, 2]}), path)
    assert read(path, arrival="t", prompt="p", output="o").arrival_s.tolist() == [0, 2.5]


def test_the_request_tables_own_names_need_no_options_and_keep_their_origin(tmp_path: Path) -> None:
    workload = read(put(tmp_path / "t.csv", "arrival_s,prompt_tokens,output_tokens,class,session\n3.5,1,2,chat,7\n4,1,2,,-1\n"))
    assert workload.source["format"] == "table"
    assert workload.arrival_s.tolist() == [3.5, 4]
    assert [workload.classes[k].name for k in workload.klass] == ["chat", "default"]
    assert workload.session is not None
    assert workload.session.tolist() == [7, -1]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("t,p,o\n1,1,1\n", {"arrival": "t", "prompt": "p", "output": "x"}, "no column 'x'; found 't', 'p', 'o'"),
        (
            "t,p,o\n1,1,1\n",
            {"arrival": "t", "prompt": "p", "output": "o", "unit": "h"},
            "unit 'h' is not known; give one of s, ms, us, ns",
        ),
        ("arrival_s,prompt_tokens,output_tokens\n-1,1,1\n", {}, "line 2: arrival_s is -1; times count from the workload's start"),
        ("arrival_s,prompt_tokens,output_tokens\n1,1,1\n2,0,1\n", {}, "line 3: prompt_tokens is 0; .* drop_failed: true"),
        ("arrival_s,prompt_tokens,output_tokens\ninf,1,1\n", {}, "line 2: arrival_s is inf"),
    ],
)
def test_faults_name_the_line_and_the_remedy(tmp_path: Path, content: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(put(tmp_path / "t.csv", content), **options)


def test_faults_in_parquet_name_the_row_and_the_column(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"arrival_s": [0.0, 1.0], "prompt_tokens": [1, None], "output_tokens": [1, 1]}), path)
    with pytest.raises(InputError, match="row 2: prompt_tokens is empty"):
        read(path)
    pq.write_table(pa.table({"arrival_s": [0.0], "prompt_tokens": [[1]], "output_tokens": [1]}), path)
    with pytest.raises(InputError, match="column 'prompt_tokens' holds list"):
        read(path)


def test_a_name_in_a_trace_sends_the_terminal_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "log.csv", "arrival_s,prompt_tokens,output_tokens,class\n0,1,1,chat\x1b[2J\n")
    assert [kind.name for kind in read(path).classes] == ["chat�[2J"]
