"""JSON lines of timestamp, input_length, output_length and, where prefixes are known, hash_ids: what Mooncake, Qwen-Bailian and
vLLM's `timed_trace` have in common. They differ in the unit of time and in the tokens per block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.readers.files import TraceFile
from traces.readers.records import Field, read_jsonl, require
from traces.readers.rows import Collector, Rows
from traces.readers.shape import Shape

FIELDS = {
    "arrival": Field("timestamp"),
    "prompt": Field("input_length"),
    "output": Field("output_length"),
    "blocks": Field("hash_ids", "integers", required=False),
}
COLUMNS = tuple(field.name for field in FIELDS.values() if field.required)


def collect(
    file: TraceFile, shape: Shape, what: str, *, sort: bool, drop_failed: bool, extra: dict[str, Field] | None = None
) -> Rows:
    """The rows; ``extra`` integer fields besides the common ones. Requests may lack hash_ids.

    Raises:
        InputError: a field is missing or a row breaks the rules of the request table.
    """
    if shape.container != "jsonl":
        raise InputError(
            f"{file.where}: {what} is a file of JSON objects, one per line; this is {shape.container}: give its format"
        )
    fields = {**FIELDS, **(extra or {})}
    require(file, shape.fields, fields, what)
    rows = Collector(file, fields, sort=sort, drop_failed=drop_failed).collect(read_jsonl(file, fields))
    if rows.block_ids is not None and not len(rows.block_ids):
        rows.block_counts = rows.block_ids = None
    return rows


def block_size(file: TraceFile, rows: Rows, given: int | None, candidates: Sequence[int]) -> int:
    """Tokens per block: as given, or the first candidate at which every started block has its id (in 99 % of the requests).

    Raises:
        InputError: no candidate fits, so that prefix sharing would be misread.
    """
    counts = rows.block_counts
    if given is not None and given < 1:
        raise InputError(f"{file.where}: block_tokens is {given}; a block holds at least 1 token")
    if given is not None or counts is None:
        return given or candidates[0]
    known = counts > 0
    prompt, ids = rows.prompt[known], counts[known]
    for tokens in candidates:
        if np.mean(-(-prompt // tokens) == ids) >= 0.99:
            return tokens
    row = _first_misfit(prompt, ids, candidates[0])
    tried = " nor ".join(map(str, candidates))
    raise InputError(
        f"{file.where}: hash_ids fit blocks of neither {tried} tokens ({ids[row]} ids, {prompt[row]:,} tokens); give block_tokens"
    )


def _first_misfit(prompt: NDArray[Any], ids: NDArray[Any], tokens: int) -> int:
    return int(np.flatnonzero(-(-prompt // tokens) != ids)[0])
