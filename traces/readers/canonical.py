"""TwinServe's own Parquet file: every column of the request table, classes and provenance in the schema's metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.errors import InputError
from traces.readers.files import TraceFile
from traces.readers.records import Field, require
from traces.readers.rows import Collector, Place
from traces.readers.shape import Shape
from traces.readers.table import read_parquet
from traces.workload import RequestClass, Workload

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens", "class")
VERSION = 1
_FIELDS = {
    "arrival": Field("arrival_s"),
    "prompt": Field("prompt_tokens"),
    "output": Field("output_tokens"),
    "class": Field("class", "integer"),
    "session": Field("session", "integer", required=False),
    "blocks": Field("block_ids", "integers", required=False),
}


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What the file says of itself."""

    version: int
    classes: tuple[RequestClass, ...]
    block_tokens: int
    source: dict[str, Any]


def recognises(shape: Shape) -> bool:
    return shape.ours


def read(file: TraceFile, shape: Shape) -> Workload:
    """The workload as it was written, its notes included.

    Raises:
        InputError: not a Parquet file that TwinServe wrote, or one of a later version.
    """
    if not shape.ours:
        raise InputError(f"{file.where}: not a Parquet file that TwinServe wrote; read it with format: table and name its columns")
    about = _about(file)
    require(file, shape.fields, _FIELDS, "TwinServe's own Parquet file")
    columns = {role: field.name for role, field in _FIELDS.items() if field.name in shape.fields}
    collector = Collector(file, _FIELDS, drop_failed=False, non_negative=True, per_s=1.0)
    rows = collector.collect(_numbers(file, read_parquet(file, columns)))
    klass = rows.integers["class"]
    if klass.min() < 0 or klass.max() >= len(about.classes):
        raise InputError(f"{file.where}: column class: counts beyond the {len(about.classes)} classes of the file; write it again")
    if (rows.block_ids is not None) != (about.block_tokens > 0):
        raise InputError(f"{file.where}: block_tokens is {about.block_tokens}, which does not fit its columns; write it again")
    workload = rows.workload(
        from_first=False,
        session=rows.integers.get("session"),
        klass=klass.astype(np.int16),
        classes=about.classes,
        block_tokens=about.block_tokens,
    )
    return dataclasses.replace(workload, source=about.source)


def _about(file: TraceFile) -> About:
    import pyarrow.parquet as pq
    from pydantic import TypeAdapter

    try:
        told = json.loads(pq.read_schema(file.path).metadata[b"twinserve"])
        if isinstance(told, dict) and told.get("version") != VERSION:
            raise InputError(
                f"{file.where}: written by another version of TwinServe (layout {told.get('version')}); write it again"
            )
        if not json.dumps(told, ensure_ascii=False).isprintable():
            raise ValueError("characters that a terminal obeys")
        about = TypeAdapter(About).validate_python(told)
        TypeAdapter(list[str]).validate_python(about.source.get("notes", []))
    except (ValueError, RecursionError):
        raise InputError(f"{file.where}: what it says of its classes cannot be read; write it again") from None
    if not 0 < len(about.classes) <= np.iinfo(np.int16).max:
        raise InputError(f"{file.where}: has {len(about.classes):,} classes of requests; write it again")
    return about


def _numbers(file: TraceFile, placed: Iterator[tuple[Place, pa.Table]]) -> Iterator[tuple[Place, pa.Table]]:
    import pyarrow as pa

    number, whole = pa.float64(), pa.int64()
    kinds = {
        "arrival": number,
        "prompt": number,
        "output": number,
        "class": whole,
        "session": whole,
        "blocks": pa.large_list(whole),
    }
    for place, table in placed:
        try:
            yield place, pa.table({role: table[role].cast(kinds[role]) for role in table.column_names})
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"{file.where}: a column is not of its type ({error}); write the file again") from None
