"""Whatever the bytes of a file are, a reader gives a result or says in one line what is wrong and where: it never falls over."""

from __future__ import annotations

import copy
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from figures.comparisonfile import write_comparison
from figures.pages.choice import write_page_of
from figures.report import render
from tests.figures.pages.synthetic import comparison, sweep
from tests.traces.golden import golden_record
from traces.errors import InputError
from traces.fingerprints import FOLDER, read_fingerprint
from traces.metrics import summarise
from traces.readers import FORMATS, read
from traces.record import Record
from traces.scenario import load_scenario
from traces.tables import TABLES
from traces.workload import Workload
from traces.writers import write

GALLERY = Path(__file__).parents[2] / "traces" / "gallery"
CHANGES = 80


def tarred(**members: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in members.items():
            about = tarfile.TarInfo(f"chat/{name.replace('__', '-').replace('_', '.')}")
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text.encode()))
    return out.getvalue()


CLIENT = "0,0.5,1.0,Gamma,1.0,2.0\n600,0.25,1.0,Weibull,1.5,2.0\n1200,,,,,\n"
LENGTHS = json.dumps({"0": {"input_tokens": "{100: 0.5, 200: 0.5}", "output_tokens": "{10: 1.0}"}})
SEEDS: dict[str, bytes] = {
    "azure": b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9,396,109\n",
    "azure-zone": b"TIMESTAMP,ContextTokens,GeneratedTokens,NumImages\r\n2024-05-10 00:00:00.009+00:00,1,2,0\r\n",
    "burstgpt": b"Timestamp,Session ID,Request tokens,Response tokens\n5,a,4,2\n6.5,,4,0\n7,b,4,3\n",
    "mooncake": b'{"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}\n'
    b'{"timestamp": 3000, "input_length": 5, "output_length": 3, "hash_ids": [18446744073709551615]}\n',
    "bailian": b'{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 5, "output_length": 3, "hash_ids": [7]}\n',
    "timed_trace": b'{"timestamp": 0.5, "input_length": 17, "output_length": 3, "hash_ids": [1, 2]}\n',
    "table": b"arrival_s,prompt_tokens,output_tokens,class,session\n0,1,1,chat,7\n0.5,2,2,,x\n",
    "servegen": tarred(chunk__0__trace_csv=CLIENT, chunk__0__dataset_json=LENGTHS),
}
ODD = (
    b"\n", b"\r\n", b"\xef\xbb\xbf", b"\0", b"\xff", b'"', b",", b"-", b"{", b"}", b"[", b"]", b":", b"e999", b"NaN", b"1e400",
    b"9" * 25, b"null", b"true", b"2023-11-16T25:61:00", b"+99:99", b"'" * 3, b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"[" * 400,
    "½\u202e\u2028".encode(), b"\x1b[31m", b"\xed\xa0\x80", b" " * 2000,
)  # fmt: skip
WORDS = ["version", "classes", "source", "block_tokens", "name", "slo", "notes", "ttft_s", "x"]
ABOUT = {"version": 1, "classes": [{"slo": {}}], "block_tokens": 0, "source": {}}

edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 40),
        st.one_of(st.sampled_from(ODD), st.binary(max_size=8), st.just(b"")),
    ),
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """``data`` with stretches of it replaced."""
    for place, length, new in changes:
        at = int(place * (len(data) + 1))
        data = data[:at] + new + data[at + length :]
    return data


def told(act: Callable[[], Any]) -> Any:
    """What ``act`` returns, or ``None`` where it refuses, which it does in lines that a person can read."""
    try:
        return act()
    except InputError as error:
        faults = error.faults
    assert faults
    for fault in faults:
        assert fault.splitlines() == [fault], repr(fault)
        assert fault.isprintable(), repr(fault)
        assert len(fault) < 3000, len(fault)
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytes")


@settings(max_examples=CHANGES, deadline=None)
@given(seed=st.sampled_from(sorted(SEEDS)), changes=edits, format=st.sampled_from([None, None, None, *FORMATS]))
def test_a_trace_is_read_or_refused(folder: Path, seed: str, changes: list[Any], format: str | None) -> None:
    path = folder / "trace"
    path.write_bytes(edited(SEEDS[seed], changes))
    workload = told(lambda: read(path, format))
    if workload is not None:
        keeps_the_rules(workload)


def keeps_the_rules(workload: Workload) -> None:
    """The rules of the request table, whatever the file was like."""
    checked = Workload.make(workload.arrival_s, workload.prompt_tokens, workload.output_tokens, klass=workload.klass)
    assert 0 <= checked.klass.min() <= checked.klass.max() < len(workload.classes)


@settings(max_examples=CHANGES // 4, deadline=None)
@given(
    seed=st.sampled_from(sorted(SEEDS)),
    changes=edits,
    packed=st.sampled_from([gzip.compress, zstandard.ZstdCompressor().compress]),
    inside=st.booleans(),
)
def test_a_compressed_trace_is_read_or_refused(
    folder: Path, seed: str, changes: list[Any], packed: Callable[[bytes], bytes], inside: bool
) -> None:
    path = folder / "trace.gz"
    path.write_bytes(packed(edited(SEEDS[seed], changes)) if inside else edited(packed(SEEDS[seed]), changes))
    told(lambda: read(path))


@settings(max_examples=CHANGES // 2, deadline=None)
@given(changes=edits)
def test_a_parquet_trace_is_read_or_refused(folder: Path, changes: list[Any]) -> None:
    path = folder / "trace.parquet"
    write(Workload.make([0.0, 1.5], [3, 4], [5, 6]), path)
    path.write_bytes(edited(path.read_bytes(), changes))
    workload = told(lambda: read(path))
    if workload is not None:
        keeps_the_rules(workload)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**40) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
)
about = plain.map(lambda value: json.dumps(ABOUT | value if isinstance(value, dict) else value).encode())


@settings(max_examples=CHANGES // 4, deadline=None)
@given(metadata=about | st.binary(max_size=30))
def test_what_a_parquet_trace_says_of_itself_is_read_or_refused(folder: Path, metadata: bytes) -> None:
    import pyarrow.parquet as pq

    path = folder / "ours.parquet"
    write(Workload.make([0.0, 1.5], [3, 4], [5, 6]), path)
    pq.write_table(pq.read_table(path).replace_schema_metadata({"twinserve": metadata}), path)
    workload = told(lambda: read(path))
    if workload is not None:
        keeps_the_rules(workload)


@settings(max_examples=CHANGES, deadline=None)
@given(seed=st.sampled_from(sorted(path.name for path in GALLERY.glob("*.yaml"))), changes=edits)
def test_a_scenario_is_read_or_refused(folder: Path, seed: str, changes: list[Any]) -> None:
    path = folder / "scenario.yaml"
    path.write_bytes(edited((GALLERY / seed).read_bytes(), changes))
    told(lambda: load_scenario(path))


def places(node: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The key path of everything in a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*keys, key)
        yield from places(value, (*keys, key))


DOCUMENTS = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted(GALLERY.glob("*.yaml"))}
PLACES = [(name, keys) for name, document in DOCUMENTS.items() for keys in places(document)]
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "1/s", "10%", "5s", "h200", "off", "-3", "1..4:3"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "gpu", "file", "time", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=CHANGES, deadline=None)
@given(place=st.sampled_from(PLACES), value=junk, extra=st.booleans())
def test_a_scenario_with_junk_anywhere_is_read_or_refused(folder: Path, place: tuple[str, Any], value: Any, extra: bool) -> None:
    name, keys = place
    document = node = copy.deepcopy(DOCUMENTS[name])
    for key in keys[:-1]:
        node = node[key]
    if extra and isinstance(node, dict):
        node["another"] = value
    else:
        node[keys[-1]] = value
    (folder / "scenario.yaml").write_text(yaml.safe_dump(document), "utf-8")
    told(lambda: load_scenario(folder / "scenario.yaml"))


@settings(max_examples=CHANGES // 4, deadline=None)
@given(option=st.text(max_size=30) | st.sampled_from(["policy", "workload.chat", "fleet", "sim"]).flatmap(
    lambda key: st.text(max_size=12).map(lambda value: f"{key}={value}")))  # fmt: skip
def test_an_override_is_read_or_refused(option: str) -> None:
    told(lambda: load_scenario(GALLERY / "demo.yaml", [option]))


@settings(max_examples=CHANGES // 2, deadline=None)
@given(changes=edits)
def test_a_fingerprint_is_read_or_refused(folder: Path, changes: list[Any]) -> None:
    path = folder / "print.json"
    path.write_bytes(edited(min(FOLDER.glob("*.json")).read_bytes(), changes))
    read_fingerprint.cache_clear()
    told(lambda: read_fingerprint(path))


@settings(max_examples=CHANGES // 2, deadline=None)
@given(seed=st.sampled_from(["comparison.json", "sweep.parquet"]), changes=edits)
def test_a_comparison_or_sweep_is_shown_or_refused(folder: Path, seed: str, changes: list[Any]) -> None:
    write_comparison(comparison(), folder)
    sweep().write(folder / "sweep.parquet")
    (folder / seed).write_bytes(edited((folder / seed).read_bytes(), changes))
    told(lambda: write_page_of(folder / seed))


@settings(max_examples=CHANGES // 2, deadline=None)
@given(name=st.sampled_from([*(f"{table}.parquet" for table in TABLES), "manifest.json", "decisions.jsonl.zst"]), changes=edits)
def test_a_record_is_read_or_refused(folder: Path, name: str, changes: list[Any]) -> None:
    record = Record(**{key: getattr(golden_record(), key) for key in ("manifest", *TABLES)}, decisions=[{"at_s": 0.5}])
    record.write(folder / "run")
    file = folder / "run" / name
    file.write_bytes(edited(file.read_bytes(), changes))
    found = told(lambda: Record.read(folder / "run"))
    if found is not None:
        told(lambda: render(found, summarise(found)))
        told(lambda: list(found.decisions or ()))
    if name == "manifest.json":  # else the next one could not take its place
        golden_record().write(folder / "run2")
        file.write_bytes((folder / "run2" / name).read_bytes())
