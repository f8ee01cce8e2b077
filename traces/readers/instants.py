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


class Instants:
    """A column of dates and times, batch by batch. A zone is written in all of them, or in none, which then count as UTC."""

    def __init__(self, file: TraceFile, name: str) -> None:
        self._file, self._name = file, name
        self._first: str | None = None

    def nanoseconds(self, place: Place, column: Any) -> Any:
        """ISO 8601 text → int64 nanoseconds since 1970; null stays null.

        Raises:
            InputError: a value is no date and time, or zones are written on some lines only.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._first is None:
            self._first = next((value.as_py() for value in column if value.is_valid), None)
        first = self._first or ""
        zone = "UTC" if _ZONE.search(first.strip()) else None
        try:
            return pc.cast(column, pa.timestamp("ns", zone)).cast(pa.int64())
        except pa.ArrowInvalid as error:
            wanted = bool(zone)
            fits = (value is None or (is_instant(value) and bool(_ZONE.search(value)) == wanted) for value in column.to_pylist())
            row = next((row for row, good in enumerate(fits) if not good), None)
            if row is None:
                raise InputError(f"{self._file.where}: {self._name}: {error}; correct the file") from None
            wrong = f"{self._name} is {column[row].as_py()!r}, not a time like {first or '2023-11-16 18:15:46'!r}"
            raise InputError(f"{self._file.where}: {place.locate(row)}: {wrong}; correct or delete the line") from None
