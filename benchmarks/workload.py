"""The common workload of the comparison, in each simulator's own file format.

Poisson arrivals at 4 requests/s per engine; log-normal lengths with sigma 0.6: prompts of mean 1,050 tokens clipped to
32–3,000, outputs of mean 205 clipped to 8–1,000 (the means are those before clipping). No two requests share a prefix.

``python -m benchmarks.workload REQUESTS ENGINES FOLDER`` writes all formats into FOLDER. ``benchmarks.peers`` runs it as a process
of its own: a child's peak memory counts from its parent's, so the parent that measures must stay small.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE_PER_ENGINE = 4.0
SIGMA = 0.6
BLOCK_TOKENS = 512
"""Mooncake's prefix block."""


@dataclass(frozen=True, slots=True)
class CommonWorkload:
    """``arrival_s`` in seconds, non-decreasing, on whole milliseconds (Mooncake's unit); the lengths in tokens."""

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]


def common_workload(requests: int, engines: int, seed: int = 0) -> CommonWorkload:
    """The same requests for the same arguments; the first n requests' lengths do not depend on ``engines``."""
    arrivals, prompts, outputs = (np.random.default_rng([seed, stream]) for stream in range(3))
    gaps = arrivals.exponential(1 / (RATE_PER_ENGINE * engines), requests)
    return CommonWorkload(
        arrival_s=np.rint(np.cumsum(gaps) * 1e3) / 1e3,
        prompt_tokens=_log_normal(prompts, requests, mean=1050, low=32, high=3000),
        output_tokens=_log_normal(outputs, requests, mean=205, low=8, high=1000),
    )


def _log_normal(rng: np.random.Generator, n: int, *, mean: float, low: int, high: int) -> NDArray[np.int64]:
    lengths = rng.lognormal(np.log(mean) - SIGMA**2 / 2, SIGMA, n)
    return np.clip(np.rint(lengths), low, high).astype(np.int64)


def write_mooncake(workload: CommonWorkload, path: Path) -> None:
    """Mooncake JSONL, which TwinServe and AISimulate read; every prefix block has an id of its own."""
    blocks = -(-workload.prompt_tokens // BLOCK_TOKENS)
    first = np.cumsum(blocks) - blocks
    milliseconds = np.rint(workload.arrival_s * 1000).astype(np.int64)
    columns = (milliseconds, workload.prompt_tokens, workload.output_tokens, first, first + blocks)
    with path.open("w") as file:
        for at, prompt, output, low, high in zip(*(column.tolist() for column in columns), strict=True):
            line = {"timestamp": at, "input_length": prompt, "output_length": output, "hash_ids": list(range(low, high))}
            file.write(json.dumps(line) + "\n")


def write_vidur(workload: CommonWorkload, path: Path) -> None:
    """The CSV of Vidur's ``trace_replay`` request generator."""
    _write_csv(path, "arrived_at,num_prefill_tokens,num_decode_tokens", "%.3f,%d,%d", workload)


def write_splitwise(workload: CommonWorkload, path: Path) -> None:
    """The CSV of splitwise-sim; type 2 is generative inference."""
    header = "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size"
    _write_csv(path, header, "{row},2,0,%.3f,1,%d,%d", workload)


def _write_csv(path: Path, header: str, row: str, workload: CommonWorkload) -> None:
    columns = (workload.arrival_s, workload.prompt_tokens, workload.output_tokens)
    with path.open("w") as file:
        file.write(header + "\n")
        for i, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            file.write((row % values).replace("{row}", str(i)) + "\n")


def main(requests: int, engines: int, folder: Path) -> None:
    """Write the workload as ``trace.jsonl`` (Mooncake), ``vidur.csv`` and ``splitwise.csv``."""
    workload = common_workload(requests, engines)
    write_mooncake(workload, folder / "trace.jsonl")
    write_vidur(workload, folder / "vidur.csv")
    write_splitwise(workload, folder / "splitwise.csv")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
