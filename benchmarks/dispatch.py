"""How late does a replay send, and what does that cost? 500 requests/s with 2,000 streams open at a time, from one process.

    python -m benchmarks.dispatch [--rate 500] [--streams 2000] [--tpot-ms 100] [--seconds 20] [--servers 2]

A whole `twinserve replay` on attached servers: router, HTTP, record. The servers are the tests' fake ones, in processes of their
own on the same machine, and share its cores. Prints the dispatch lag (from the intended time until a request is routed and
written), and the CPU time of the sending process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from replay.run import replay
from traces.scenario import Scenario
from traces.tables import floats


def scenario(urls: Sequence[str], rate: float, seconds: float, prompt: int, output: int) -> Scenario:
    """A steady load on attached servers."""
    return Scenario.model_validate(
        {
            "name": "dispatch",
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": len(urls)},
            "workload": [{"name": "chat", "trace": {"prompt_tokens": prompt, "output_tokens": output}, "rate": rate}],
            "policy": {"router": "least-loaded", "batcher": "vllm"},
            "duration": seconds,
            "drain": 60.0,
            "replay": {"engines": "attached", "urls": list(urls)},
        }
    )


def most_open(arrival_s: np.ndarray, gone_s: np.ndarray) -> int:
    """Streams open at once."""
    steps = np.concatenate([np.ones(len(arrival_s)), -np.ones(len(gone_s))])
    return int(np.cumsum(steps[np.argsort(np.concatenate([arrival_s, gone_s]), kind="stable")]).max())


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--tpot-ms", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--servers", type=int, default=2)
    options = parser.parse_args()
    tokens = round(options.streams / options.rate / (options.tpot_ms / 1e3))
    command = [sys.executable, "-m", "tests.replay.fake_server", "0", str(options.tpot_ms / 1e3)]
    servers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(options.servers)]
    try:
        urls = [server.stdout.readline().strip() for server in servers if server.stdout is not None]
        cpu, wall = time.process_time(), time.monotonic()
        record = replay(scenario(urls, options.rate, options.seconds, options.prompt, tokens))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    finally:
        for server in servers:
            server.kill()
    rows, manifest = record.requests, record.manifest
    arrival, e2e = floats(rows, "arrival_s"), floats(rows, "e2e_s")
    lag = {name: 1e3 * value for name, value in manifest["dispatch_lag_s"].items()}
    chunks = int(floats(rows, "output_tokens").sum())
    outcomes = ", ".join(f"{count} {name}" for name, count in Counter(rows.column("outcome").to_pylist()).items())
    print(f"{options.rate:g} requests/s for {options.seconds:g} s, {tokens} tokens each at {options.tpot_ms:g} ms")
    print(f"{outcomes}; at most {most_open(arrival, (arrival + e2e)[~np.isnan(e2e)])} streams open")
    sound = "sound" if manifest["sound"] else "unsound"
    print(f"dispatch lag p50 {lag['p50']:.2f} ms, p99 {lag['p99']:.2f} ms, max {lag['max']:.1f} ms: {sound}")
    print(
        f"CPU {100 * cpu / wall:.0f} % of one core over {wall:.0f} s ({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}); "
        f"{1e6 * cpu / chunks:.0f} µs for each of {chunks} chunks, all in"
    )


if __name__ == "__main__":
    main()
