from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.traces.golden import GAP_COLUMNS, MANIFEST, REQUEST_COLUMNS, golden_record
from traces.errors import InputError
from traces.record import GAPS, REQUESTS, TABLES, Record, check_target, make_table
from traces.tables import canonical, codes, floats

PARQUET = [f"{name}.parquet" for name in TABLES]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def with_decisions(decisions):
    record = golden_record()
    return Record(record.manifest, record.requests, record.steps, record.fleet, record.gaps, decisions)


def faults(folder):
    with pytest.raises(InputError) as caught:
        Record.read(folder)
    return caught.value.faults


# --- there and back ---------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_written(tmp_path):
    record = with_decisions([{"at_s": 0.0, "engine": "e0"}, {"at_s": 1.0, "engine": "e1"}])
    written = record.write(tmp_path / "run")
    read = Record.read(tmp_path / "run")
    assert read.path == written.path == tmp_path / "run"
    assert {key: read.manifest[key] for key in MANIFEST} == MANIFEST
    assert read.window_s == (0.0, 10.0)
    for name in TABLES:
        assert getattr(read, name).to_pylist() == getattr(record, name).to_pylist()
    assert list(read.decisions) == list(record.decisions)
    assert list(read.decisions) == list(record.decisions), "a log can be read more than once"


def test_a_record_without_a_decision_log_has_none(tmp_path):
    golden_record().write(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(["manifest.json", *PARQUET])
    assert Record.read(tmp_path / "run").decisions is None


def test_unknown_is_null_on_disk_never_nan_or_zero(tmp_path):
    golden_record().write(tmp_path / "run")
    row = pq.read_table(tmp_path / "run" / "requests.parquet").to_pylist()[3]
    assert [row[name] for name in ("engine", "queue_s", "ttft_s", "tpot_s", "e2e_s", "slo_e2e_s")] == [None] * 6


def test_every_column_says_what_it_means(tmp_path):
    golden_record().write(tmp_path / "run")
    for name in TABLES:
        for field in pq.read_schema(tmp_path / "run" / f"{name}.parquet"):
            assert len(field.metadata[b"doc"]) > 5


def test_a_partial_record_says_so(tmp_path):
    golden_record(manifest={"partial": True}).write(tmp_path / "run")
    assert Record.read(tmp_path / "run").partial
    assert not golden_record().partial


def test_the_manifest_is_strict_json_even_with_infinite_parameters(tmp_path):
    golden_record(manifest={"policies": {"batcher": {"valid_steps": float("inf"), "k": np.int64(3)}}}).write(tmp_path / "run")
    text = (tmp_path / "run" / "manifest.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["policies"]["batcher"] == {"valid_steps": "inf", "k": 3}


# --- one form on disk -------------------------------------------------------------------------------------------------


def test_equal_tables_give_equal_bytes_however_they_are_held_in_memory(tmp_path):
    plain = golden_record()
    names = ["unused", "fast", "batch"]
    recoded = make_table(REQUESTS, {**REQUEST_COLUMNS, "tier": (np.array([1, 2, 1, 1, 1, 1, 1]), names)})
    chunked = pa.concat_tables([recoded.slice(0, 3), plain.requests.slice(3)])
    assert chunked.column("id").num_chunks == 2
    other = Record(plain.manifest, chunked, plain.steps, plain.fleet, plain.gaps)
    plain.write(tmp_path / "a")
    other.write(tmp_path / "b")
    for name in PARQUET:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_reading_and_writing_again_changes_no_byte(tmp_path):
    with_decisions([{"at_s": 0.5}]).write(tmp_path / "a")
    Record.read(tmp_path / "a").write(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_what_varies_between_identical_runs_touches_the_manifest_alone(tmp_path):
    golden_record().write(tmp_path / "a")
    golden_record(manifest={"wall_s": 99.0, "versions": {"python": "9"}}).write(tmp_path / "b")
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {name for name in a if a[name] != b[name]} == {"manifest.json"}


def test_a_name_column_takes_codes_or_names_and_null_is_minus_one():
    by_name = make_table(GAPS, GAP_COLUMNS)
    by_code = make_table(GAPS, {**GAP_COLUMNS, "class": ([0, 0, 1], ["chat", "bulk"])})
    assert by_name.to_pylist() == by_code.to_pylist()
    assert codes(golden_record().requests, "engine")[0].tolist() == [0, 0, 0, -1, 1, 0, 0]
    assert codes(by_code, "class")[1] == ["bulk", "chat"]
    assert np.isnan(floats(golden_record().requests, "ttft_s")).tolist() == [False, False, False, True, False, False, False]


def test_a_table_with_a_missing_or_unknown_column_is_a_programming_error():
    table = golden_record().gaps
    with pytest.raises(ValueError, match="gap_s"):
        canonical(table.drop_columns(["gap_s"]), GAPS)
    with pytest.raises(ValueError, match="extra"):
        canonical(table.append_column("extra", table.column("count")), GAPS)


def test_a_null_where_none_may_be_is_refused(tmp_path):
    record = golden_record()
    broken = record.requests.set_column(0, REQUESTS.field("id"), pa.array([None, *range(6)], pa.int64()))
    with pytest.raises(pa.ArrowInvalid, match="null"):
        Record(record.manifest, broken, record.steps, record.fleet, record.gaps).write(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_record_can_be_written_and_read(tmp_path):
    empty = {name: schema.empty_table() for name, schema in TABLES.items()}
    Record(MANIFEST, **empty).write(tmp_path / "run")
    assert Record.read(tmp_path / "run").requests.num_rows == 0


# --- all or nothing ---------------------------------------------------------------------------------------------------


def interrupted():
    yield {"at_s": 0.0}
    raise KeyboardInterrupt


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with_decisions(interrupted()).write(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_older_record_whole(tmp_path):
    golden_record().write(tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        with_decisions(interrupted()).write(tmp_path / "run")
    assert contents(tmp_path / "run") == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_newer_record_replaces_the_older_one_whole(tmp_path):
    with_decisions([{"at_s": 0.0}]).write(tmp_path / "run")
    golden_record(manifest={"seed": 8}).write(tmp_path / "run")
    assert Record.read(tmp_path / "run").manifest["seed"] == 8
    assert not (tmp_path / "run" / "decisions.jsonl.zst").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_record_may_replace_itself_with_its_own_decision_log(tmp_path):
    with_decisions([{"at_s": 0.0}]).write(tmp_path / "run")
    Record.read(tmp_path / "run").write(tmp_path / "run")
    assert list(Record.read(tmp_path / "run").decisions) == [{"at_s": 0.0}]


def test_a_folder_that_is_not_a_record_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="will not be overwritten"):
        golden_record().write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_foreign_manifest_does_not_make_a_record(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "an app", "version": 2}')
    with pytest.raises(InputError, match="no run record"):
        check_target(tmp_path)


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        golden_record().write(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_an_empty_folder_or_none_may_be_written_to(tmp_path):
    check_target(tmp_path)
    golden_record().write(tmp_path / "new" / "deep" / "run")
    (tmp_path / "empty").mkdir()
    golden_record().write(tmp_path / "empty")
    assert Record.read(tmp_path / "empty").requests.num_rows == 7


def test_a_place_that_cannot_be_written_is_the_users_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        golden_record().write(tmp_path / "file" / "run")


# --- bad folders ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    golden_record().write(tmp_path / "run")
    return tmp_path / "run"


def test_a_missing_folder_is_named(tmp_path):
    assert faults(tmp_path / "nowhere") == (f"{tmp_path / 'nowhere'}: no such folder; give the folder that a run wrote with --out",)


def test_a_folder_without_manifest_is_no_record(tmp_path):
    assert "no manifest.json" in faults(tmp_path)[0]


def test_each_missing_or_damaged_table_is_one_fault(folder):
    (folder / "steps.parquet").unlink()
    whole = (folder / "requests.parquet").read_bytes()
    (folder / "requests.parquet").write_bytes(whole[: len(whole) // 2])
    first, second = sorted(faults(folder))
    assert "requests.parquet: is damaged" in first
    assert "steps.parquet: is missing" in second
    assert all("\n" not in fault for fault in (first, second))


def test_a_table_of_another_shape_names_its_columns(folder):
    table = pq.read_table(folder / "gaps.parquet")
    pq.write_table(table.drop_columns(["gap_s"]).set_column(1, "count", pa.array([1.5, 2.5, 3.5])), folder / "gaps.parquet")
    found = faults(folder)
    assert any("column gap_s is missing" in fault for fault in found)
    assert any("column count is double where int64 is expected" in fault for fault in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not readable JSON"),
        ("[]", "not an object"),
        ('{"twinserve": "0.1.0"}', "it lacks world, scenario"),
    ],
)
def test_a_broken_manifest_is_explained(folder, text, words):
    (folder / "manifest.json").write_text(text)
    assert words in faults(folder)[0]


def test_a_record_of_a_newer_version_asks_for_an_update(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "record_version": 99}))
    assert "update twinserve" in faults(folder)[0]


def test_a_damaged_decision_log_is_explained_when_it_is_read(tmp_path):
    record = with_decisions([{"at_s": float(i), "engine": f"e{i % 7}"} for i in range(5000)]).write(tmp_path / "run")
    log = tmp_path / "run" / "decisions.jsonl.zst"
    log.write_bytes(b"not zstandard" + log.read_bytes())
    with pytest.raises(InputError, match=r"decisions\.jsonl\.zst: cannot be read"):
        list(record.decisions)
