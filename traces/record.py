"""The run record: the folder that both worlds write and every view reads.

``manifest.json`` says what ran; four Parquet tables say what happened; ``decisions.jsonl.zst`` says why, when it was asked for.

Everything that differs between identical runs (wall time, versions) stands in the manifest alone: equal tables give equal bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from traces.aside import OLD, aside
from traces.errors import InputError
from traces.hashes import plain_json
from traces.manifest import NAME, RECORD_VERSION, another_reads_it, is_manifest, read_manifest
from traces.tables import FLEET as FLEET
from traces.tables import GAPS as GAPS
from traces.tables import OUTCOMES as OUTCOMES
from traces.tables import REQUESTS as REQUESTS
from traces.tables import STEPS as STEPS
from traces.tables import TABLES, canonical
from traces.tables import make_table as make_table

_LOOKS, _LOOK_S = 4, 0.01
"""How often a folder is looked at before it is taken for somebody's, and how much longer each time."""
_SWAPS = 20
"""How often a writer tries to take a place that others take at the same time."""


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """The decisions of a record on disk, one mapping each, in the order taken. Read as it is iterated, as often as wanted."""

    path: Path

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        import io

        import zstandard

        try:
            with self.path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
                for line in io.TextIOWrapper(stream, encoding="utf-8"):
                    entry = json.loads(line)
                    if not isinstance(entry, dict):
                        raise ValueError(f"a decision is {line[:40]!r}, not an object")
                    yield entry
        except (OSError, ValueError, RecursionError, zstandard.ZstdError) as error:
            raise InputError(f"{self.path}: cannot be read: {error}; run the scenario again with its decision log on") from error


@dataclass(frozen=True, slots=True)
class Record:
    """One run.

    ``decisions``: JSON-able mappings in the order taken, ``None`` = the log was off. ``path``: where the record stands on disk.
    """

    manifest: Mapping[str, Any]
    requests: pa.Table
    steps: pa.Table
    fleet: pa.Table
    gaps: pa.Table
    decisions: Iterable[Mapping[str, Any]] | None = None
    path: Path | None = None

    @property
    def window_s(self) -> tuple[float, float]:
        """The measured window: requests that arrive in [start, end) are measured."""
        start, end = self.manifest["window_s"]
        return float(start), float(end)

    @property
    def partial(self) -> bool:
        """The run was stopped before its end."""
        return bool(self.manifest.get("partial", False))

    def write(self, path: str | Path) -> Record:
        """Write the folder and return the record at its place. All or nothing: an interrupted write leaves what stood there.

        An older record (or an empty folder) at ``path`` is replaced; anything else is left alone.

        Raises:
            InputError: ``path`` holds something that is not a record, or cannot be written.
        """
        target = Path(path).resolve()
        check_target(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with aside(target) as temporary:
                temporary.mkdir()
                self._write_files(temporary)
                _swap(temporary, target)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}; choose another folder with --out") from error
        return dataclasses.replace(self, path=target, decisions=_decisions(target))

    def _write_files(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        for name, schema in TABLES.items():
            names = [field.name for field in schema if pa.types.is_dictionary(field.type)]
            pq.write_table(
                canonical(getattr(self, name), schema),
                folder / f"{name}.parquet",
                version="2.6",
                data_page_version="1.0",
                row_group_size=1 << 20,
                compression="zstd",
                compression_level=1,
                use_dictionary=names,
                write_statistics=True,
                write_page_checksum=True,
            )
        if self.decisions is not None:
            _write_decisions(self.decisions, folder / "decisions.jsonl.zst")
        manifest = {**self.manifest, "record_version": RECORD_VERSION}
        text = json.dumps(plain_json(manifest), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Record:
        """The record in folder ``path``.

        Raises:
            InputError: no such folder, not a record, written by a newer version, or a file is missing, damaged or of another shape.
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        tables: dict[str, pa.Table] = {}
        faults: list[str] = []
        for name, schema in TABLES.items():
            try:
                tables[name] = _read_table(folder / f"{name}.parquet", schema, another_reads_it(manifest))
            except InputError as error:
                faults.extend(error.faults)
        if faults:
            raise InputError(*faults)
        return cls(manifest, **tables, decisions=_decisions(folder), path=folder)


def is_record(path: Path) -> bool:
    """Whether a folder is a run record, as told by its manifest."""
    return is_manifest(path / NAME)


def check_target(path: str | Path) -> None:
    """Before a run: may a record be written to ``path``?

    Raises:
        InputError: it holds something that is not a record, so writing would destroy it, or its place cannot be written to.
    """
    target = Path(path)
    check_place(target)
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.is_symlink():
            return
        mode = 0
    if not stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a file, not a run record; choose another folder with --out")
    if all(_is_foreign(target, look) for look in range(_LOOKS)):
        raise InputError(f"{path}: holds files but no run record, and will not be overwritten; choose another folder with --out")


def _is_foreign(folder: Path, look: int) -> bool:
    """Whether a folder holds something else than a record. One that another run replaces right now may look so, but not twice."""
    time.sleep(look * _LOOK_S)
    with contextlib.suppress(FileNotFoundError):
        return any(folder.iterdir()) and not is_record(folder)
    return False


def check_place(path: Path) -> None:
    """Before something long: may a file or folder be made there?

    Raises:
        InputError: the nearest folder that exists cannot be written to.
    """
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"{path}: cannot be written: {nearest} is no folder that may be written to; choose another folder")


def _swap(new: Path, target: Path) -> None:
    """Put ``new`` in ``target``'s place. An older record steps aside first and comes back if the second rename fails.

    Others may do the same at the same time: each record takes the place whole, and the last one keeps it.
    """
    old = new.with_suffix(OLD)
    for attempt in range(_SWAPS):
        with contextlib.suppress(FileNotFoundError):
            if any(target.iterdir()):
                os.replace(target, old)
        try:
            os.replace(new, target)
        except BaseException as error:
            taken = isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST)
            if not taken and old.exists():
                os.replace(old, target)
            if not taken or attempt == _SWAPS - 1:
                raise
        else:
            shutil.rmtree(old, ignore_errors=True)
            return
        shutil.rmtree(old, ignore_errors=True)


def _write_decisions(decisions: Iterable[Mapping[str, Any]], path: Path) -> None:
    import zstandard

    with path.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as stream:
        for decision in decisions:
            stream.write(
                json.dumps(plain_json(decision), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
            )


def _decisions(folder: Path) -> DecisionLog | None:
    log = folder / "decisions.jsonl.zst"
    return DecisionLog(log) if log.exists() else None


def _read_table(path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    """A column that may be null, and that an older version did not write yet, is unknown."""
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path}: is missing from the record; run the scenario again")
    try:
        table = pq.read_table(path, memory_map=False, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: is damaged ({error}); run the scenario again") from error
    for field in schema:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    if faults := _schema_faults(table, schema):
        raise InputError(*(f"{path}: {fault}; {remedy}" for fault in faults))
    return table.select(schema.names)


def _schema_faults(found: pa.Table, wanted: pa.Schema) -> Sequence[str]:
    faults = []
    for field in wanted:
        if field.name not in found.column_names:
            faults.append(f"column {field.name} is missing")
        elif (kind := found.schema.field(field.name).type) != field.type:
            faults.append(f"column {field.name} is {kind} where {field.type} is expected")
        elif not field.nullable and found.column(field.name).null_count:
            faults.append(f"column {field.name} has {found.column(field.name).null_count} rows without a value")
    return faults
