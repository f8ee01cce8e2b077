"""Azure LLM inference traces, CSV: 2023 (no zone, 7 fractional digits), 2024 (`+00:00`), multimodal 2025 (`Z`, NumImages).

https://github.com/Azure/AzurePublicDataset; CC-BY-4.0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from traces.readers.files import TraceFile
from traces.readers.instants import Instants
from traces.readers.records import Batch, Field, read_csv, require
from traces.readers.rows import Collector
from traces.readers.shape import Shape
from traces.workload import Workload

_FIELDS = {
    "arrival": Field("TIMESTAMP", "text"),
    "prompt": Field("ContextTokens"),
    "output": Field("GeneratedTokens"),
    "images": Field("NumImages", "integer", required=False),
}
COLUMNS = tuple(field.name for field in _FIELDS.values() if field.required)


def recognises(shape: Shape) -> bool:
    return shape.container == "csv" and shape.has(*COLUMNS)


def read(file: TraceFile, shape: Shape, *, sort: bool = False, drop_failed: bool = True) -> Workload:
    """Time counts from the first request. ``drop_failed``: leave out requests with 0 tokens.

    Raises:
        InputError: a column is missing or a row breaks the rules of the request table.
    """
    require(file, shape.fields, _FIELDS, "an Azure trace")
    per_s = None if shape.has("NumImages") else 1.0  # images are counted over all requests
    rows = Collector(file, _FIELDS, sort=sort, drop_failed=drop_failed, per_s=per_s).collect(_timed(file, shape))
    notes = []
    if (images := rows.integers.get("images")) is not None:
        with_images = int(np.count_nonzero(images > 0))
        notes.append(f"{with_images:,} of {len(images):,} requests carry images; only their context tokens are kept")
    return rows.workload(notes=notes)


def _timed(file: TraceFile, shape: Shape) -> Iterator[Batch]:
    instants = Instants(file, _FIELDS["arrival"].name)
    for block, table in read_csv(file, shape.fields, _FIELDS):
        at = table.column_names.index("arrival")
        yield block, table.set_column(at, "arrival", instants.nanoseconds(block, table["arrival"]))
