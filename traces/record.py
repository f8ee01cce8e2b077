"""The run record: the folder that both worlds write and every view reads.

``manifest.json`` says what ran; four Parquet tables say what happened; ``decisions.jsonl.zst`` says why, when it was asked for.

Everything that differs between identical runs (wall time, versions) stands in the manifest alone: equal tables give equal bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from traces.errors import InputError
from traces.hashes import plain_json
from traces.tables import FLEET as FLEET
from traces.tables import GAPS as GAPS
from traces.tables import OUTCOMES as OUTCOMES
from traces.tables import REQUESTS as REQUESTS
from traces.tables import STEPS as STEPS
from traces.tables import TABLES, canonical
from traces.tables import make_table as make_table

RECORD_VERSION = 1
_MANIFEST_KEYS = ("twinserve", "world", "scenario", "seed", "window_s", "end_s", "hashes")


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
                    yield json.loads(line)
        except (OSError, ValueError, zstandard.ZstdError) as error:
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
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.writing")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            self._write_files(temporary)
            _swap(temporary, target)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}; choose another folder with --out") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
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
            )
        if self.decisions is not None:
            _write_decisions(self.decisions, folder / "decisions.jsonl.zst")
        manifest = {**self.manifest, "record_version": RECORD_VERSION}
        text = json.dumps(plain_json(manifest), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Record:
        """The record in folder ``path``.

        Raises:
            InputError: no such folder, not a record, written by a newer version, or a file is missing, damaged or of another shape.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        tables: dict[str, pa.Table] = {}
        faults: list[str] = []
        for name, schema in TABLES.items():
            try:
                tables[name] = _read_table(folder / f"{name}.parquet", schema)
            except InputError as error:
                faults.extend(error.faults)
        if faults:
            raise InputError(*faults)
        return cls(manifest, **tables, decisions=_decisions(folder), path=folder)


def is_record(path: Path) -> bool:
    """Whether a folder is a run record, as told by its manifest."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and "twinserve" in manifest and "record_version" in manifest


def check_target(path: str | Path) -> None:
    """Before a run: may a record be written to ``path``?

    Raises:
        InputError: it holds something that is not a record, so writing would destroy it.
    """
    target = Path(path)
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise InputError(f"{path}: is a file, not a run record; choose another folder with --out")
    if any(target.iterdir()) and not is_record(target):
        raise InputError(f"{path}: holds files but no run record, and will not be overwritten; choose another folder with --out")


def _swap(new: Path, target: Path) -> None:
    """Put ``new`` in ``target``'s place. An older record steps aside first and comes back if the second rename fails."""
    if not target.exists() or not any(target.iterdir()):
        os.replace(new, target)
        return
    old = new.with_suffix(".old")
    os.replace(target, old)
    try:
        os.replace(new, target)
    except BaseException:
        os.replace(old, target)
        raise
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


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that a run wrote with --out")
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(f"{folder}: is not a run record (it has no manifest.json); give the folder that a run wrote with --out")
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not readable JSON ({error}); run the scenario again") from error
    if not isinstance(manifest, dict) or (missing := [key for key in _MANIFEST_KEYS if key not in manifest]):
        lacks = ", ".join(missing) if isinstance(manifest, dict) else "everything: it is not an object"
        raise InputError(f"{path}: is not a run record's manifest (it lacks {lacks}); run the scenario again")
    version = manifest.get("record_version", 0)
    if version != RECORD_VERSION:
        remedy = "update twinserve" if isinstance(version, int) and version > RECORD_VERSION else "run the scenario again"
        raise InputError(f"{path}: record version is {version}, this twinserve reads {RECORD_VERSION}; {remedy}")
    return manifest


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path}: is missing from the record; run the scenario again")
    try:
        table = pq.read_table(path, memory_map=False)
    except (OSError, pa.ArrowException) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path}: is damaged ({first}); run the scenario again") from error
    if faults := _schema_faults(table.schema, schema):
        raise InputError(*(f"{path}: {fault}; run the scenario again" for fault in faults))
    return table


def _schema_faults(found: pa.Schema, wanted: pa.Schema) -> Sequence[str]:
    faults = []
    for field in wanted:
        if field.name not in found.names:
            faults.append(f"column {field.name} is missing")
        elif (kind := found.field(field.name).type) != field.type:
            faults.append(f"column {field.name} is {kind} where {field.type} is expected")
    return faults
