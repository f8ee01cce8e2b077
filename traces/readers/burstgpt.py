"""BurstGPT, CSV, releases 1 to 3; release 3 adds Session ID and Elapsed time. A failed request has 0 response tokens.

https://github.com/HPMLL/BurstGPT; CC-BY-4.0; Wang et al., KDD 2025.
"""

from __future__ import annotations

from collections.abc import Iterator

from traces.readers.arrow import Codes
from traces.readers.files import TraceFile
from traces.readers.records import Batch, Field, read_csv, require
from traces.readers.rows import Collector
from traces.readers.shape import Shape
from traces.workload import Workload

_FIELDS = {
    "arrival": Field("Timestamp"),
    "prompt": Field("Request tokens"),
    "output": Field("Response tokens"),
    "session": Field("Session ID", "text", required=False),
}
COLUMNS = tuple(field.name for field in _FIELDS.values() if field.required)


def recognises(shape: Shape) -> bool:
    return shape.container == "csv" and shape.has(*COLUMNS)


def read(file: TraceFile, shape: Shape, *, sort: bool = False, drop_failed: bool = True) -> Workload:
    """Time counts from the first request; the release's seconds count from midnight of its first day.

    ``drop_failed``: leave out the requests that failed (about 2 % of release 1, 7 % of release 3) and count them in the notes.

    Raises:
        InputError: a column is missing or a row breaks the rules of the request table.
    """
    require(file, shape.fields, _FIELDS, "a BurstGPT trace")
    rows = Collector(file, _FIELDS, sort=sort, drop_failed=drop_failed, per_s=1.0).collect(_numbered(file, shape))
    return rows.workload(session=rows.integers.get("session"))


def _numbered(file: TraceFile, shape: Shape) -> Iterator[Batch]:
    sessions = Codes()
    for block, table in read_csv(file, shape.fields, _FIELDS):
        if "session" in table.column_names:
            at = table.column_names.index("session")
            table = table.set_column(at, "session", sessions.encode(table["session"]))
        yield block, table
