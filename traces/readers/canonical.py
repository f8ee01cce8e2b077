"""TwinServe's own Parquet file: every column of the request table, classes and provenance in the schema's metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.types import SLO
from traces.errors import InputError
from traces.readers.files import TraceFile
from traces.readers.records import Field
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
    columns = {role: field.name for role, field in _FIELDS.items() if field.name in shape.fields}
    collector = Collector(file, _FIELDS, drop_failed=False, non_negative=True)
    rows = collector.collect(_numbers(read_parquet(file, columns)))
    classes = tuple(RequestClass(**{**kind, "slo": SLO(**kind["slo"])}) for kind in about["classes"])
    source: dict[str, Any] = about["source"]
    workload = rows.workload(
        from_first=False,
        session=rows.integers.get("session"),
        klass=rows.integers["class"].astype(np.int16),
        classes=classes,
        block_tokens=about["block_tokens"],
    )
    return dataclasses.replace(workload, source=source)


def _about(file: TraceFile) -> dict[str, Any]:
    import pyarrow.parquet as pq

    about: dict[str, Any] = json.loads(pq.read_schema(file.path).metadata[b"twinserve"])
    if about.get("version") != VERSION:
        raise InputError(f"{file.where}: written by another version of TwinServe (layout {about.get('version')}); write it again")
    return about


def _numbers(placed: Iterator[tuple[Place, pa.Table]]) -> Iterator[tuple[Place, pa.Table]]:
    import pyarrow as pa

    for place, table in placed:
        wide = {"arrival": pa.float64(), "prompt": pa.float64(), "output": pa.float64(), "class": pa.int64(), "session": pa.int64()}
        yield place, pa.table({role: table[role].cast(wide[role]) if role in wide else table[role] for role in table.column_names})
