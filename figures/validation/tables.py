"""Reads a measured table and names the row that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def read_rows(path: Path, columns: Sequence[str], times: Sequence[str]) -> list[Any]:
    """The rows of ``read_table``, one attribute per column."""
    return list(read_table(path, columns, times).itertuples(index=False))


def read_table(path: Path, columns: Sequence[str], times: Sequence[str]) -> pd.DataFrame:
    """The CSV file's rows. ``times``: columns that must be positive.

    Raises:
        InputError: the file cannot be read, a column lacks, or a time is not a positive number.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: {error}; give the folder that holds the measured data") from None
    if missing := [name for name in columns if name not in table]:
        raise InputError(f"{path}: column {missing[0]} is missing; expected {', '.join(columns)}")
    for name in times:
        if (bad := ~(table[name] > 0)).any():
            line = int(bad.to_numpy().argmax()) + 2
            raise InputError(f"{path}:{line}: {name} is {table[name][line - 2]}; a measured time is positive")
    return table
