"""Mooncake traces (JSON lines, milliseconds, 512-token blocks), and Qwen-Bailian's (seconds, 16-token blocks, chat_id).

https://github.com/kvcache-ai/Mooncake, FAST25-release (Qin et al., FAST 2025) and
https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon (Wang et al., ATC 2025); both Apache-2.0.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from policies.streams import generator
from traces.readers.files import TraceFile
from traces.readers.prefix_blocks import COLUMNS, block_size, collect
from traces.readers.records import Field
from traces.readers.shape import Shape
from traces.readers.ticks import spread, tick_of
from traces.workload import Workload

_CHAT = {"chat": Field("chat_id", "integer"), "parent": Field("parent_chat_id", "integer")}
_BLOCK_TOKENS, _BAILIAN_BLOCK_TOKENS = 512, 16


def recognises(shape: Shape) -> bool:
    return shape.container == "jsonl" and shape.has(*COLUMNS) and (_is_bailian(shape) or isinstance(shape.value("timestamp"), int))


def read(
    file: TraceFile,
    shape: Shape,
    *,
    jitter: bool = False,
    seed: int = 0,
    block_tokens: int | None = None,
    sort: bool = False,
    drop_failed: bool = True,
) -> Workload:
    """Time counts from the first request.

    The published arrivals sit on 3-second ticks. ``jitter``: spread them uniformly inside their tick, with ``seed``; else the notes
    say that they sit on ticks. ``block_tokens``: tokens per hash id, by default what fits (512, or 16 in Qwen-Bailian traces). A
    Qwen-Bailian record (it has a chat_id) is read in seconds, and its session is the chat that its conversation began with.

    Raises:
        InputError: a field is missing, a row breaks the rules of the request table, or no usual block size fits.
    """
    bailian = _is_bailian(shape)
    extra = {role: field for role, field in _CHAT.items() if bailian and shape.has(field.name)}
    rows = collect(file, shape, "a Mooncake trace", sort=sort, drop_failed=drop_failed, extra=extra)
    sizes = (_BAILIAN_BLOCK_TOKENS, _BLOCK_TOKENS) if bailian else (_BLOCK_TOKENS, _BAILIAN_BLOCK_TOKENS)
    tokens = block_size(file, rows, block_tokens, sizes)
    session = first_of_chain(rows.integers["chat"], rows.integers["parent"]) if len(extra) == len(_CHAT) else None
    notes = ["Qwen-Bailian records: timestamps are seconds"] if bailian else []
    workload = rows.workload(per_s=1 if bailian else 1000, session=session, block_tokens=tokens, notes=notes)
    return _off_ticks(workload, jitter, seed)


def _is_bailian(shape: Shape) -> bool:
    return shape.has("chat_id")


def _off_ticks(workload: Workload, jitter: bool, seed: int) -> Workload:
    tick = tick_of(workload.arrival_s)
    if tick is None:
        return workload.noted("jitter not applied: arrivals do not sit on ticks") if jitter else workload
    if not jitter:
        return workload.noted(f"arrivals sit on {tick:g}-second ticks, as published; jitter: true spreads them inside their tick")
    arrival_s = spread(workload.arrival_s, tick, generator(seed, "mooncake", "jitter"))
    return dataclasses.replace(workload, arrival_s=arrival_s).noted(f"jitter inside {tick:g}-second ticks on, seed {seed}")


def first_of_chain(chat: NDArray[np.int64], parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each chat, the id of the one at the start of its chain of parents; a parent outside the file begins a chain."""
    ids, row_of = np.unique(chat, return_index=True)
    at = np.minimum(np.searchsorted(ids, parent), len(ids) - 1)
    ancestor = np.where(ids[at] == parent, row_of[at], np.arange(len(chat)))
    for _ in range(len(chat).bit_length()):  # each pass doubles the reach, so that even a cycle ends
        ancestor = ancestor[ancestor]
    return chat[ancestor]
