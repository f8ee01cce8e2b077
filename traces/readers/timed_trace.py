"""The JSON lines that `vllm bench serve --dataset-name timed_trace --self-timed` replays.

Fields timestamp, input_length, output_length, hash_ids. vLLM takes timestamps in seconds (`--timed-trace-sec-multiplier`, 1 by
default) and blocks of 16 tokens (`--timed-trace-chunk-hash-size`), and cuts a prompt short where its hash_ids run out.
"""

from __future__ import annotations

from traces.errors import InputError
from traces.readers.files import TraceFile
from traces.readers.prefix_blocks import COLUMNS, block_size, collect
from traces.readers.shape import Shape
from traces.workload import Workload

_BLOCK_TOKENS = (16, 512)


def recognises(shape: Shape) -> bool:
    return shape.container == "jsonl" and shape.has(*COLUMNS) and isinstance(shape.value("timestamp"), float)


def read(
    file: TraceFile,
    shape: Shape,
    *,
    sec_multiplier: float = 1.0,
    block_tokens: int | None = None,
    sort: bool = False,
    drop_failed: bool = True,
) -> Workload:
    """Arrivals are kept as written, unless they begin below 0.

    ``sec_multiplier``, ``block_tokens``: vLLM's options; tokens per hash id are by default what fits (16 or 512).

    Raises:
        InputError: a field is missing, a row breaks the rules of the request table, or no usual block size fits.
    """
    if not sec_multiplier > 0:
        raise InputError(f"{file.where}: sec_multiplier is {sec_multiplier:g}; give the seconds in one unit of timestamp")
    rows = collect(file, shape, "a timed_trace", sort=sort, drop_failed=drop_failed)
    tokens = block_size(file, rows, block_tokens, _BLOCK_TOKENS)
    rows.arrival = rows.arrival * sec_multiplier
    return rows.workload(from_first=bool(rows.arrival.min() < 0), block_tokens=tokens)
