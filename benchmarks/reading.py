"""Memory and time of reading a long trace: all of it, and an hour of it.

python -m benchmarks.reading [MEGABYTES]
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def long_trace(path: Path, bytes_wanted: int) -> int:
    """A CSV trace in the Azure format of about that size, one request each 36 ms; returns how many it has."""
    rows = 0
    with path.open("w", encoding="ascii") as file:
        file.write(HEADER)
        while file.tell() < bytes_wanted:
            lines = []
            for row in range(rows, rows + 10_000):
                ms = row * 36
                day, hour, minute, second = ms // 86_400_000, ms // 3_600_000 % 24, ms // 60_000 % 60, ms // 1000 % 60
                stamp = f"2024-{1 + day // 28:02d}-{1 + day % 28:02d} {hour:02d}:{minute:02d}:{second:02d}.{ms % 1000:03d}"
                lines.append(f"{stamp},{200 + row % 1800},{20 + row % 400}\n")
            file.write("".join(lines))
            rows += 10_000
    return rows


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
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with TemporaryDirectory() as folder:
        path = Path(folder, "long.csv")
        rows = long_trace(path, megabytes * 1_000_000)
        print(f"{megabytes:,} MB, {rows:,} requests")
        for name, span_s in (("an hour", (3600.0, 7200.0)), ("all", None)):
            requests, mebibytes, seconds = measured(path, span_s)
            print(f"{name:8} {requests:>12,} requests  {mebibytes:7.0f} MiB more  {seconds:6.1f} s")


if __name__ == "__main__":
    main()
