"""Arrow columns to arrays and back. Its own `to_numpy`, `fill_null` and `pa.array` import pandas (0.3 s, 60 MB), these do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def numbers(column: Any, null: float | None = None) -> NDArray[Any]:
    """The values of a numeric column or array; ``null`` in place of nulls, which else hold what lies in memory."""
    if not len(column):
        return np.empty(0, column.type.to_pandas_dtype())
    array = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    memory = np.frombuffer(array.buffers()[1], array.type.to_pandas_dtype())
    values: NDArray[Any] = memory[array.offset : array.offset + len(array)]
    return values if null is None or not array.null_count else np.where(valid(array), values, values.dtype.type(null))


def valid(column: Any) -> NDArray[np.bool_]:
    """Where the column is not null."""
    import pyarrow as pa

    return numbers(column.is_valid().cast(pa.uint8())).astype(bool)


def column_of(values: NDArray[Any]) -> Any:
    """An Arrow array over the memory of a numeric array."""
    import pyarrow as pa

    plain = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [None, pa.py_buffer(plain)])


def text_column(names: Sequence[str], index: NDArray[Any]) -> Any:
    """The Arrow text array of ``names[i]`` for i in ``index``."""
    import pyarrow as pa

    encoded = [name.encode() for name in names]
    offsets = np.concatenate([[0], np.cumsum([len(name) for name in encoded])]).astype(np.int32)
    texts = pa.StringArray.from_buffers(len(names), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))
    return texts.take(column_of(index))


def block_lists(column: Any) -> dict[str, NDArray[np.int64]]:
    """Lists of 64-bit block ids as their lengths (`block_counts`, 0 for null) and, end to end, the ids (`blocks`)."""
    import pyarrow.compute as pc

    counts = numbers(pc.list_value_length(column), null=0).astype(np.int64)
    ids = numbers(pc.list_flatten(column)).view(np.int64)  # ids are names: a hash beyond the signed range keeps its bits
    return {"block_counts": counts, "blocks": ids}


class Codes:
    """Numbers for names, in order of first appearance, across batches. ``null``: the name that stands for null; none gives -1."""

    def __init__(self, null: str | None = None) -> None:
        self.names: dict[str, int] = {}
        self._null = null

    def encode(self, column: Any) -> Any:
        """Text column → int64 column without nulls."""
        encoded = column.combine_chunks().dictionary_encode()
        codes = [self._code(name) for name in encoded.dictionary.to_pylist()]
        codes.append(-1 if self._null is None or not encoded.null_count else self._code(self._null))
        return column_of(np.array(codes, np.int64)[numbers(encoded.indices, null=-1)])

    def _code(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))
