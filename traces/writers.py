"""Writing workloads: TwinServe's own Parquet (everything), CSV (the columns), Mooncake and vLLM `timed_trace` JSON lines.

Files appear whole or not at all; `.gz` and `.zst` endings compress.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from traces.arrow import column_of, text_of
from traces.errors import InputError
from traces.readers.canonical import VERSION
from traces.workload import Workload

_ENDINGS = {".parquet": "twinserve", ".csv": "csv"}
_BATCH_ROWS = 1 << 16
_MADE_UP_BLOCK_TOKENS = 512


def write(workload: Workload, path: Path, format: str | None = None) -> list[str]:
    """Write the workload; returns what a user should know of the file: what its format cannot hold, how to replay it.

    ``format``: one of FORMATS, by default by the ending: `.parquet` is twinserve, `.csv` csv; JSON lines need it said.

    Raises:
        InputError: unknown format, an ending that says none, or a folder that cannot be written.
    """
    ending = Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix
    name = format or _ENDINGS.get(ending, "")
    if name not in FORMATS:
        wrong = f"format {format!r} is not known" if format else f"the ending {ending!r} does not tell the format"
        raise InputError(f"{path}: {wrong}; give format: {', '.join(FORMATS)}")
    return FORMATS[name](workload, path)


def write_parquet(workload: Workload, path: Path) -> list[str]:
    """Every column; classes, block size and provenance in the metadata. Compressed inside (zstd)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "arrival_s": column_of(workload.arrival_s),
        "prompt_tokens": column_of(workload.prompt_tokens),
        "output_tokens": column_of(workload.output_tokens),
        "class": column_of(workload.klass),
    }
    if workload.session is not None:
        columns["session"] = column_of(workload.session)
    if workload.block_offsets is not None and workload.block_ids is not None:
        columns["block_ids"] = pa.LargeListArray.from_arrays(column_of(workload.block_offsets), column_of(workload.block_ids))
    about = {
        "version": VERSION,
        "classes": [dataclasses.asdict(kind) for kind in workload.classes],
        "block_tokens": workload.block_tokens,
        "source": dict(workload.source),
    }
    table = pa.table(columns).replace_schema_metadata({"twinserve": json.dumps(about)})
    with _whole(path) as out:
        pq.write_table(table, out, compression="zstd")
    return []


def write_csv(workload: Workload, path: Path) -> list[str]:
    """Columns arrival_s, prompt_tokens, output_tokens, class (by name) and, where there are sessions, session."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    columns = {
        "arrival_s": column_of(workload.arrival_s),
        "prompt_tokens": column_of(workload.prompt_tokens),
        "output_tokens": column_of(workload.output_tokens),
        "class": text_of([kind.name for kind in workload.classes]).take(column_of(workload.klass)),
    }
    if workload.session is not None:
        columns["session"] = column_of(workload.session)
    with _whole(path) as out:
        arrow_csv.write_csv(pa.table(columns), out, arrow_csv.WriteOptions(quoting_style="needed"))
    lost = ["tiers, models and SLOs of the classes", *(["prefix blocks"] if workload.block_ids is not None else [])]
    return [f"CSV does not hold: {', '.join(lost)}; write Parquet to keep them"]


def write_mooncake(workload: Workload, path: Path) -> list[str]:
    """JSON lines with timestamp in whole milliseconds, input_length, output_length and, where known, hash_ids."""
    stamps = np.rint(workload.arrival_s * 1e3).astype(np.int64)
    counts = None if workload.block_offsets is None else np.diff(workload.block_offsets)
    _write_lines(workload, path, stamps, counts, workload.block_ids)
    blocks = [] if workload.block_ids is None else [f"hash_ids are blocks of {workload.block_tokens} tokens"]
    return ["arrivals are rounded to 1 ms; classes and sessions are not kept", *blocks]


def write_timed_trace(workload: Workload, path: Path) -> list[str]:
    """JSON lines with timestamp in seconds (exact), input_length, output_length and hash_ids that cover the whole prompt.

    vLLM cuts a prompt where its hash_ids run out, so requests whose blocks are unknown get ids that no other request has.
    """
    tokens = workload.block_tokens or _MADE_UP_BLOCK_TOKENS
    counts, ids = _covering_blocks(workload, tokens)
    _write_lines(workload, path, workload.arrival_s, counts, ids)
    unpacked = path.name.removesuffix(".gz").removesuffix(".zst")
    return [
        "classes and sessions are not kept",
        f"replay with: vllm bench serve --dataset-name timed_trace --dataset-path {unpacked} --self-timed "
        f"--timed-trace-chunk-hash-size {tokens} --timed-trace-sec-multiplier 1 --num-prompts {len(workload)} --ignore-eos",
    ]


FORMATS: Mapping[str, Callable[[Workload, Path], list[str]]] = {
    "twinserve": write_parquet,
    "csv": write_csv,
    "mooncake": write_mooncake,
    "timed_trace": write_timed_trace,
}


def _covering_blocks(workload: Workload, tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts and ids of blocks such that every prompt is covered; fresh ids fill what is unknown."""
    offsets, ids = workload.block_offsets, workload.block_ids
    if offsets is None or ids is None:
        offsets, ids = np.zeros(len(workload) + 1, np.int64), np.empty(0, np.int64)
    have = np.diff(offsets)
    need = np.maximum(-(-workload.prompt_tokens.astype(np.int64) // tokens), have)
    starts = np.cumsum(need) - need
    covered = np.arange(need.sum()) + (ids.max() + 1 if len(ids) else 0)  # fresh everywhere, then the known ones over them
    within = np.arange(len(ids)) - np.repeat(offsets[:-1], have)
    covered[np.repeat(starts, have) + within] = ids
    return need, covered


def _write_lines(
    workload: Workload, path: Path, stamps: NDArray[Any], counts: NDArray[np.int64] | None, ids: NDArray[np.int64] | None
) -> None:
    with _whole(path) as out:
        for text in _lines(workload, stamps, counts, ids):
            out.write(text.encode())


def _lines(
    workload: Workload, stamps: NDArray[Any], counts: NDArray[np.int64] | None, ids: NDArray[np.int64] | None
) -> Iterator[str]:
    ends = None if counts is None else np.cumsum(counts)
    for start in range(0, len(workload), _BATCH_ROWS):
        rows = slice(start, start + _BATCH_ROWS)
        lengths = zip(
            stamps[rows].tolist(), workload.prompt_tokens[rows].tolist(), workload.output_tokens[rows].tolist(), strict=True
        )
        bodies = (f'"timestamp": {at!r}, "input_length": {prompt}, "output_length": {output}' for at, prompt, output in lengths)
        if counts is None or ends is None or ids is None:
            yield "".join(f"{{{body}}}\n" for body in bodies)
            continue
        spans = zip((ends[rows] - counts[rows]).tolist(), ends[rows].tolist(), strict=True)
        yield "".join(f'{{{body}, "hash_ids": {ids[a:b].tolist()}}}\n' for body, (a, b) in zip(bodies, spans, strict=True))


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its place only when the block ends well."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give a folder that exists and is writable") from None
    try:
        with os.fdopen(handle, "wb") as raw, _compressed(raw, path.suffix) as out:
            yield out
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written ({error.strerror or error}); give a place with room for it") from None
        raise


@contextmanager
def _compressed(raw: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    if ending == ".gz":
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:  # no name, no time: equal content, equal bytes
            yield out  # type: ignore[misc]
    elif ending == ".zst":
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as out:
            yield out
    else:
        yield raw
