"""Records survive what happens to machines: kills at any time, full and read-only disks, two writers at once, older versions."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.traces.golden import golden_record
from traces.errors import InputError
from traces.record import REQUESTS, Record
from traces.workload import Workload
from traces.writers import write
from twinserve import main

ROOT = Path(__file__).parents[2]


def leftovers(folder: Path, *expected: str) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} - set(expected))


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def write_over_and_over(target: Path, ready: Event) -> None:
    for seed in itertools.count():
        golden_record(manifest={"seed": seed}).write(target)
        ready.set()


def test_a_writer_killed_at_any_time_leaves_a_whole_record_or_none(tmp_path: Path) -> None:
    """Writers that write over and over, each killed after a time drawn at random."""
    moments, target, there = random.Random(12), tmp_path / "run", 0
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    for _ in range(25):
        ready = processes.Event()
        process = processes.Process(target=write_over_and_over, args=(target, ready), daemon=True)
        process.start()
        assert ready.wait(60)
        time.sleep(moments.uniform(0.0, 0.03))
        process.kill()
        process.join()
        if target.exists():
            Record.read(target)  # raises if it is not whole
            there += 1
        assert all(name.startswith(".run.") for name in leftovers(tmp_path, "run")), "what is unfinished is hidden"
        golden_record().write(target)  # and is not in the next one's way, who removes it
        assert leftovers(tmp_path, "run") == []
    assert there > 10, "most are killed while a record is there"


def test_a_killed_run_leaves_nothing_that_looks_like_a_record(tmp_path: Path) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "model: llama-3.1-8b\nfleet: {gpu: h200, gpus: 1}\nduration: 40s\n"
        "workload: [{name: a, rate: 40/s, trace: {prompt_tokens: 100, output_tokens: 50}}]\n"
    )
    moments = random.Random(5)
    for _ in range(3):
        command = [sys.executable, "-m", "twinserve", "run", str(scenario), "--out", str(tmp_path / "run"), "--quiet"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.3, 2.0))
        process.kill()
        process.wait()
        if (tmp_path / "run").exists():
            assert Record.read(tmp_path / "run").requests.num_rows > 1000
            shutil.rmtree(tmp_path / "run")


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder on a disk without room; for root a real one of 128 KiB, else one that says so."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = mounted and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if mounted:
        (folder / "ballast").write_bytes(b"x" * (127 << 10))
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)
        return

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pyarrow.parquet.write_table", no_room)
    monkeypatch.setattr(Path, "write_text", no_room)
    monkeypatch.setattr("os.replace", no_room)
    (folder / "ballast").touch()
    yield folder


def refused(act) -> str:
    with pytest.raises(InputError) as caught:
        act()
    (fault,) = caught.value.faults
    return fault


def test_a_full_disk_is_one_line_and_no_half_record(full: Path, tmp_path: Path) -> None:
    from figures.pages.page import write_page
    from figures.timeline import write_timeline
    from tests.figures.pages.synthetic import sweep

    record = golden_record()
    big = Workload.make(range(30_000), range(1, 30_001), [1] * 30_000)
    assert "No space left" in refused(lambda: record.write(full / "run"))
    assert "No space left" in refused(lambda: write_page("x" * 200_000, full / "report.html"))
    assert "No space left" in refused(lambda: sweep().write(full / "sweep.parquet"))
    assert "No space left" in refused(lambda: write(big, full / "t.csv"))
    many = Record(record.manifest, pa.concat_tables([record.requests] * 3000), record.steps, record.fleet, record.gaps)
    assert "No space left" in refused(lambda: write_timeline(many, full / "t.json"))
    assert leftovers(full, "ballast") == []


def test_a_full_disk_leaves_the_older_record_as_it_was(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.path.ismount(full):
        pytest.skip("needs a real small disk, which only root can mount")
    (full / "ballast").unlink()
    golden_record(manifest={"seed": 8}).write(full / "run")
    (full / "ballast").write_bytes(b"x" * (shutil.disk_usage(full).free - 4096))
    assert "No space left" in refused(lambda: golden_record().write(full / "run"))
    assert Record.read(full / "run").manifest["seed"] == 8
    assert leftovers(full, "ballast", "run") == []


@pytest.mark.parametrize(
    "words",
    [
        ["run", "SCENARIO", "--out", "PLACE"],
        ["compare", "SCENARIO", "--vary", "fleet.gpus=1,2", "--out", "PLACE"],
        ["compare", "SCENARIO", "--vary", "fleet.gpus=1,2", "--report", "PLACE"],
        ["sweep", "SCENARIO", "--seeds", "2", "--out", "PLACE"],
        ["sweep", "SCENARIO", "--seeds", "2", "--report", "PLACE"],
        ["plan", "SCENARIO", "--html", "PLACE"],
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it ran")

    for name in ("sim.run.simulate", "sim.sweep.sweep", "sim.compare.experiment", "sim.plan.plan"):
        monkeypatch.setattr(name, never)
    (tmp_path / "file").touch()
    named = {"SCENARIO": str(ROOT / "traces" / "gallery" / "demo.yaml"), "PLACE": str(tmp_path / "file" / "there")}
    result = CliRunner().invoke(main, [named.get(word, word) for word in words])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert "cannot be written" in result.stderr


def test_a_read_only_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert "Read-only file system" in refused(lambda: golden_record().write(tmp_path / "run"))


# --- two at once ------------------------------------------------------------------------------------------------------


def test_runs_that_write_to_one_place_at_once_leave_one_whole_record(tmp_path: Path) -> None:
    target = tmp_path / "run"

    def one(seed: int) -> None:
        for _ in range(8):
            golden_record(manifest={"seed": seed}).write(target)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    assert Record.read(target).manifest["seed"] in range(4)
    assert leftovers(tmp_path, "run") == []


def test_parallel_runs_in_one_folder_do_not_touch_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: golden_record(manifest={"seed": seed}).write(tmp_path / f"run-{seed}"), range(12)))
    assert [Record.read(tmp_path / f"run-{seed}").manifest["seed"] for seed in range(12)] == list(range(12))
    assert len(leftovers(tmp_path)) == 12


# --- older versions and damage ------------------------------------------------------------------------------------------


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A record as TwinServe 0.0.9 might have written it: before two columns were there."""
    golden_record(manifest={"twinserve": "0.0.9"}).write(tmp_path / "old")
    table = pq.read_table(tmp_path / "old" / "requests.parquet").drop_columns(["dslo_lateness_s", "slo_e2e_s"])
    pq.write_table(table, tmp_path / "old" / "requests.parquet")
    return tmp_path / "old"


def test_an_older_record_opens_and_what_it_does_not_know_is_unknown(older: Path) -> None:
    record = Record.read(older)
    assert record.requests.schema.names == REQUESTS.names
    assert record.requests.column("dslo_lateness_s").null_count == record.requests.num_rows
    result = CliRunner().invoke(main, ["report", str(older)])
    assert result.exit_code == 0, result.output


def test_an_older_record_that_cannot_be_opened_names_the_version_that_can(older: Path) -> None:
    table = pq.read_table(older / "requests.parquet").drop_columns(["outcome"])
    pq.write_table(table, older / "requests.parquet")
    assert "column outcome is missing; read it with twinserve 0.0.9, which wrote it" in refused(lambda: Record.read(older))
    manifest = json.loads((older / "manifest.json").read_text())
    (older / "manifest.json").write_text(json.dumps({**manifest, "record_version": 0}))
    assert "record version is 0, this twinserve reads 1; read it with twinserve 0.0.9" in refused(lambda: Record.read(older))


def test_a_flipped_bit_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    """Pages carry checksums, their headers do not: of the flips that are not seen, hardly any changes a value."""
    golden_record().write(tmp_path / "run")
    whole, path = Record.read(tmp_path / "run"), tmp_path / "run" / "requests.parquet"
    data, moments = path.read_bytes(), random.Random(3)
    body = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    seen = changed = 0
    for _ in range(100):
        damaged = bytearray(data)
        damaged[moments.randrange(4, body)] ^= 1 << moments.randrange(8)
        path.write_bytes(damaged)
        try:
            changed += not Record.read(tmp_path / "run").requests.equals(whole.requests)
        except InputError as error:
            seen += "is damaged" in str(error)
    assert seen > 50
    assert changed <= 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window_s", "all"),
        ("window_s", [1]),
        ("end_s", None),
        ("scenario", []),
        ("policies", [1]),
        ("engines", {"e0": 3}),
        ("warnings", 1),
    ],
)
def test_a_manifest_with_an_entry_of_another_kind_is_refused(tmp_path: Path, key: str, value: object) -> None:
    golden_record().write(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, key: value}))
    assert key in refused(lambda: Record.read(tmp_path / "run"))
