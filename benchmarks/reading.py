"""Memory and time of reading a long trace: an hour of it, and all of it.

python -m benchmarks.reading [MEGABYTES] [--hour] [--folder FOLDER]

``--hour``: leave out the reading of all of it, which needs 40 bytes of memory a request. The trace is written into a temporary
folder of FOLDER, and deleted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from pyarrow import csv

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
_START_MS = 1_704_067_200_000  # 2024 begins
_GAP_MS = 36
_ROWS = 10_000


def long_trace(path: Path, bytes_wanted: int) -> int:
    """A CSV trace in the Azure format of about that size, one request each 36 ms; returns how many it has."""
    plain = csv.WriteOptions(include_header=False, quoting_style="none")
    done = 0
    with path.open("wb") as file:
        file.write(HEADER.encode())
        while file.tell() < bytes_wanted:
            row = np.arange(done, done + _ROWS)
            stamp = pa.array(_START_MS + row * _GAP_MS).cast(pa.timestamp("ms"))
            table = pa.table({"at": stamp, "prompt": 200 + row % 1800, "output": 20 + row % 400})
            csv.write_csv(table, file, plain)
            done += _ROWS
    return done


def _read(path: Path, span_s: tuple[float, float] | None, answers: multiprocessing.Queue[tuple[int, float, float]]) -> None:
    from traces.readers import read

    read(path, None, (0.0, 1.0))  # what the imports take
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    requests = len(read(path, None, span_s))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers.put((requests, (after - before) / 1024, time.perf_counter() - start))


def measured(path: Path, span_s: tuple[float, float] | None) -> tuple[int, float, float]:
    """Requests read, MiB by which the peak of a fresh process rises beyond what a second of the file takes, and seconds."""
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[tuple[int, float, float]] = context.Queue()
    process = context.Process(target=_read, args=(path, span_s, answers))
    process.start()
    found = answers.get()
    process.join()
    return found


def main() -> None:
    """Prints a row per span."""
    words = argparse.ArgumentParser(description="Memory and time of reading a long trace.")
    words.add_argument("megabytes", type=int, nargs="?", default=200)
    words.add_argument("--hour", action="store_true", help="read an hour of it only")
    words.add_argument("--folder", type=Path, help="where there is room for it")
    asked = words.parse_args()
    with TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder, "long.csv")
        start = time.perf_counter()
        rows = long_trace(path, asked.megabytes * 1_000_000)
        print(f"{asked.megabytes:,} MB, {rows:,} requests, written in {time.perf_counter() - start:.0f} s", flush=True)
        for name, span_s in (("an hour", (3600.0, 7200.0)), *(() if asked.hour else (("all", None),))):
            requests, mebibytes, seconds = measured(path, span_s)
            print(f"{name:8} {requests:>12,} requests  {mebibytes:7.0f} MiB more  {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
