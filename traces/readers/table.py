"""Any CSV, JSON lines or Parquet file whose columns are named by the user; by default the names of the request table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from traces.errors import InputError
from traces.readers.arrow import Codes
from traces.readers.files import TraceFile
from traces.readers.instants import Instants, is_instant
from traces.readers.records import Field, Kind, read_csv, read_jsonl, require
from traces.readers.rows import Collector, Place
from traces.readers.shape import Shape
from traces.workload import RequestClass, Workload

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
_PER_SECOND = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}
_BATCH_ROWS = 1 << 17
_MAX_CLASSES = 1000
_INTEGER = re.compile(r"[+-]?\d+")


class RowGroup(NamedTuple):
    """Rows of a Parquet file. ``first_row``: the number (from 1) of the first of them."""

    first_row: int

    def locate(self, row: int) -> str:
        return f"row {self.first_row + row}"


def recognises(shape: Shape) -> bool:
    return shape.container in ("csv", "jsonl", "parquet") and shape.has(*COLUMNS)


def read(
    file: TraceFile,
    shape: Shape,
    *,
    arrival: str = COLUMNS[0],
    prompt: str = COLUMNS[1],
    output: str = COLUMNS[2],
    session: str = "session",
    klass: str = "class",
    unit: str = "s",
    sort: bool = False,
    drop_failed: bool = False,
) -> Workload:
    """``arrival``, ``prompt``, ``output``: columns that every record has; ``session`` and ``klass``: used where present.

    Arrivals are numbers in ``unit`` (s, ms, us, ns) or ISO 8601 times. A column `arrival_s` counts from the workload's start and is
    kept as it is; under any other name time counts from the first request.

    Raises:
        InputError: a column is missing or a row breaks the rules of the request table.
    """
    if unit not in _PER_SECOND:
        raise InputError(f"{file.where}: unit {unit!r} is not known; give one of {', '.join(_PER_SECOND)}")
    if shape.container not in ("csv", "jsonl", "parquet"):
        raise InputError(f"{file.where}: a table is CSV, JSON lines or Parquet; this is a {shape.container}")
    written = is_instant(shape.value(arrival))
    fields = {
        "arrival": Field(arrival, "text" if written else "number"),
        "prompt": Field(prompt),
        "output": Field(output),
        "session": Field(session, _kind(shape.value(session)), required=session != "session"),
        "class": Field(klass, "text", required=klass != "class"),
    }
    require(file, shape.fields, fields, "the table")
    fields = {role: field for role, field in fields.items() if field.name in shape.fields}
    kept = arrival == COLUMNS[0] and not written
    collector = Collector(file, fields, sort=sort, drop_failed=drop_failed, non_negative=kept, per_s=_PER_SECOND[unit])
    classes = Codes(null=RequestClass().name)
    rows = collector.collect(_coded(file, _placed(file, shape, fields), fields, Codes(), classes))
    if len(classes.names) > _MAX_CLASSES:
        raise InputError(
            f"{file.where}: {len(classes.names):,} classes in {klass!r}; name a column of a few kinds of requests as klass"
        )
    return rows.workload(
        per_s=_PER_SECOND[unit],
        from_first=not kept,
        session=rows.integers.get("session"),
        klass=rows.integers["class"].astype(np.int16) if "class" in rows.integers else None,
        classes=tuple(RequestClass(name=_visible(name)) for name in classes.names) or (RequestClass(),),
    )


def _visible(name: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() else "�" for c in name)


def _placed(file: TraceFile, shape: Shape, fields: dict[str, Field]) -> Iterator[tuple[Place, pa.Table]]:
    if shape.container == "csv":
        yield from read_csv(file, shape.fields, fields)
    elif shape.container == "jsonl":
        yield from read_jsonl(file, fields)
    else:
        yield from read_parquet(file, {role: field.name for role, field in fields.items()})


def read_parquet(file: TraceFile, columns: dict[str, str]) -> Iterator[tuple[RowGroup, pa.Table]]:
    """The named columns (role → name) of a Parquet file, in batches.

    Raises:
        InputError: damaged data.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 1
    try:
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(columns.values())):
                table = pa.Table.from_batches([batch]).select(list(columns.values())).rename_columns(list(columns))
                yield RowGroup(row), table
                row += len(table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{file.where}: damaged Parquet data at or after row {row} ({error}); get or write the file again"
        ) from None


def _coded(
    file: TraceFile, placed: Iterator[tuple[Place, pa.Table]], fields: dict[str, Field], sessions: Codes, classes: Codes
) -> Iterator[tuple[Place, pa.Table]]:
    """Every column as the type that the collector wants."""
    import pyarrow as pa

    instants = Instants(file, fields["arrival"].name)

    def coded(place: Place, role: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
        kind, text = column.type, pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if role == "arrival" and (text or pa.types.is_timestamp(kind)):
            return instants.nanoseconds(place, column) if text else column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64())
        if role == "class":
            return classes.encode(column.cast(pa.string()))
        if role == "session":
            return column.cast(pa.int64()) if pa.types.is_integer(kind) else sessions.encode(column.cast(pa.string()))
        return column.cast(pa.float64())

    for place, table in placed:
        columns = {}
        for role in table.column_names:
            try:
                columns[role] = coded(place, role, table[role])
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise InputError(
                    f"{file.where}: column {fields[role].name!r} holds {table[role].type}; name another column"
                ) from None
        yield place, pa.table(columns)


def _kind(value: Any) -> Kind:
    return "integer" if isinstance(value, int) or (isinstance(value, str) and _INTEGER.fullmatch(value.strip())) else "text"
