"""How fast step times are predicted, on one core: ``python -m benchmarks.steptime``.

In bulk (``FingerprintLatency.seconds_many``), one at a time as policies ask (``seconds``) and from the simulator's tables
(``StepTime.seconds``); and what the tables cost to make.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from policies.latency import FingerprintLatency, StepShape
from sim.steptime import StepTime
from traces.fingerprints import named_fingerprint

BULK = 1_000_000
SINGLE = 100_000


def rates(name: str) -> dict[str, float]:
    """Predictions per second by way of asking, best of three; and milliseconds to tabulate an engine's limits."""
    fingerprint = named_fingerprint(name)
    latency = FingerprintLatency(fingerprint)
    rng = np.random.default_rng(0)
    prefill = np.where(rng.random(BULK) < 0.3, rng.integers(1, 4096, BULK), 0).astype(float)
    seqs = rng.integers(1, 256, BULK).astype(float)
    columns = (prefill, prefill**2 / 2, np.minimum(prefill, 1.0), seqs, seqs * rng.integers(1, 8192, BULK), np.zeros(BULK))
    steps = [StepShape(*map(int, row)) for row in np.stack(columns, axis=1)[:SINGLE].tolist()]
    truth = StepTime(fingerprint, max_batched_tokens=8192, max_seqs=1024)

    def one_by_one(ask: Callable[..., float]) -> None:
        for step in steps:
            ask(*step)

    return {
        "bulk_per_s": BULK / _best(lambda: latency.seconds_many(*columns)),
        "single_per_s": SINGLE / _best(lambda: [latency.seconds(step) for step in steps]),
        "table_per_s": SINGLE / _best(lambda: one_by_one(truth.seconds)),
        "tabulate_ms": 1e3 * _best(lambda: StepTime(fingerprint, max_batched_tokens=8192, max_seqs=1024)),
    }


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steptime", description="Speed of step-time predictions.")
    parser.add_argument("name", nargs="?", default="llama-3.1-8b/h200/tp1/bf16")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    found = rates(options.name)
    if options.as_json:
        print(json.dumps(found))
        return
    print(f"{options.name}, one core")
    for key, value in found.items():
        print(f"  {key:14} {value:>14,.0f}" if key.endswith("_s") else f"  {key:14} {value:>14.2f}")


if __name__ == "__main__":
    main()
