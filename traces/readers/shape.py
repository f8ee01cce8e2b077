"""What a trace file looks like before it is read: the container, and the fields that its records have."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any, Literal

from traces.errors import InputError
from traces.readers.files import TraceFile

Container = Literal["csv", "jsonl", "parquet", "tar", "folder"]

_HEAD_BYTES = (64 << 10, 32 << 20)  # the second for a first record with a hash id for every 16 tokens of a very long prompt
_MARK_AND_CUT_BYTES = 3 + 3  # a byte-order mark, and a character cut off at the end


@dataclass(frozen=True, slots=True)
class Shape:
    """``fields``: in the file's order. ``first``: the first record's values by field, as text for CSV; empty where none is at hand.

    ``ours``: a Parquet file that TwinServe wrote.
    """

    container: Container
    fields: tuple[str, ...] = ()
    first: dict[str, Any] | None = None
    ours: bool = False

    def has(self, *fields: str) -> bool:
        return set(fields) <= set(self.fields)

    def value(self, field: str) -> Any:
        """The first record's value; ``None`` when the file has no record or the record no such field."""
        return (self.first or {}).get(field)


def shape_of(file: TraceFile) -> Shape:
    """Look at the beginning of the file.

    Raises:
        InputError: the file is empty, or is neither CSV, JSON lines, Parquet, a tar archive nor a folder.
    """
    if file.is_folder:
        return Shape("folder")
    for size in _HEAD_BYTES:
        head = file.head(size)
        if head.count(b"\n") > 1 or len(head) < size:
            break
    if head.startswith(b"PAR1"):
        return _parquet(file)
    if head[257:262] == b"ustar":
        return Shape("tar")
    text = _text(file, head)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{file.where}: empty file: 0 requests; get the trace again")
    if lines[0].lstrip().startswith("["):
        raise InputError(
            f"{file.where}: a JSON array; a JSONL trace has one object per line (`jq -c '.[]'` makes one of the other)"
        )
    return _json(file, lines[0]) if lines[0].lstrip().startswith("{") else _csv(file, lines)


def _text(file: TraceFile, head: bytes) -> str:
    text = head.decode("utf-8-sig", "ignore")
    undecoded = len(head) - len(text.encode())
    if "\0" in text or undecoded > _MARK_AND_CUT_BYTES:
        raise InputError(f"{file.where}: binary data, not a trace; a trace is CSV, JSON lines, Parquet or a ServeGen archive")
    if text.startswith("version https://git-lfs"):
        raise InputError(f"{file.where}: a Git LFS pointer, not the trace itself; run `git lfs pull` where it comes from")
    return text


def _csv(file: TraceFile, lines: list[str]) -> Shape:
    try:
        rows = list(csv.reader(lines[:2]))
    except csv.Error as error:
        raise InputError(
            f"{file.where}: neither CSV nor JSON lines ({error}); a CSV trace begins with a line of column names"
        ) from None
    header = tuple(name.strip() for name in rows[0])
    return Shape("csv", header, dict(zip(header, rows[1], strict=False)) if len(rows) > 1 else None)


def _json(file: TraceFile, line: str) -> Shape:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file.where}: the first record is not a JSON object ({error}); a JSONL trace has one object per line"
        ) from None
    return Shape("jsonl", tuple(record), record)


def _parquet(file: TraceFile) -> Shape:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file.path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{file.where}: damaged Parquet file ({error}); get or write it again") from None
    return Shape("parquet", tuple(schema.names), None, b"twinserve" in (schema.metadata or {}))
