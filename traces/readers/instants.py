"""Written dates and times to nanoseconds: up to nine fractional digits, with or without a zone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from traces.errors import InputError
from traces.readers.files import TraceFile
from traces.readers.rows import Place

_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")


def is_instant(text: Any) -> bool:
    """Whether the value is an ISO 8601 date with a time, rather than a number."""
    if not isinstance(text, str):
        return False
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return False
    return not text.strip().isdigit()


def nanoseconds(file: TraceFile, place: Place, name: str, column: Any) -> Any:
    """ISO 8601 text → int64 nanoseconds since 1970, UTC where no zone is written; null stays null.

    Raises:
        InputError: a value is no date and time, or zones are written on some lines only.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    first = next((value.as_py() for value in column if value.is_valid), "")
    zone = "UTC" if _ZONE.search(first) else None
    try:
        return pc.cast(column, pa.timestamp("ns", zone)).cast(pa.int64())
    except pa.ArrowInvalid as error:
        fits = (value is None or (is_instant(value) and bool(_ZONE.search(value)) == bool(zone)) for value in column.to_pylist())
        row = next((row for row, good in enumerate(fits) if not good), None)
        if row is None:
            raise InputError(f"{file.where}: {name}: {str(error).splitlines()[0]}; correct the file") from None
        wrong = f"{name} is {column[row].as_py()!r}, not a time like {first or '2023-11-16 18:15:46'!r}"
        raise InputError(f"{file.where}: {place.locate(row)}: {wrong}; correct or delete the line") from None
