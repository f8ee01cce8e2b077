"""What readers need of Arrow beyond ``traces.arrow``: lists of block ids, names as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.arrow import column_of, numbers, one_chunk


def block_lists(column: Any) -> dict[str, NDArray[np.int64]]:
    """Lists of 64-bit block ids as their lengths (`block_counts`, 0 for null) and, end to end, the ids (`blocks`)."""
    lists = one_chunk(column)
    counts = np.diff(numbers(lists.offsets)).astype(np.int64)
    ids = numbers(lists.flatten()).view(np.int64)  # ids are names: a hash beyond the signed range keeps its bits
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
