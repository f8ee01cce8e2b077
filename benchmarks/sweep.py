"""What a sweep costs beside its simulations: ``python -m benchmarks.sweep``, on a machine with nothing else to do."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sim.backends import run_all
from sim.sweep import points, run_point, sweep

TINY = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload: [{name: chat, trace: azure-2023-conv, rate: 4/s, requests: 20, slo: {ttft: 500ms, tpot: 30ms}}]
"""
ABOUT_A_SECOND = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 8}
workload: [{name: chat, trace: azure-2023-conv, rate: 100/s, slo: {ttft: 500ms, tpot: 30ms}}]
duration: 3min
"""
TINY_POINTS, LONG_POINTS, ROUNDS, WORKERS = 200, 24, 3, 2


class Span(NamedTuple):
    """When a point was computed, on the clock that all processes share, and the CPU time that it took."""

    began: float
    ended: float
    cpu_s: float


class Work(NamedTuple):
    scenario: str
    seed: int


def timed(work: Work) -> Span:
    """Runs in a worker."""
    began, cpu = time.monotonic(), time.process_time()
    run_point(work.scenario, [f"seed={work.seed}"])
    return Span(began, time.monotonic(), time.process_time() - cpu)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{os.cpu_count()} cores; load average when it began: {os.getloadavg()[0]:.1f}; best of {ROUNDS} rounds")
        overhead(folder)
        utilisation(folder)


def overhead(folder: Path) -> None:
    """Seconds per point beyond the run and its summary, in this process and with warm workers."""
    scenario = folder / "tiny.yaml"
    scenario.write_text(TINY)
    grid = points([], range(TINY_POINTS))
    sweep(scenario, grid[:4], jobs=WORKERS)  # imports here and there
    run_point(scenario)
    bare = _best(lambda _: [run_point(scenario, [f"seed={point.seed}"]) for point in grid])
    here = _best(lambda i: sweep(scenario, grid, jobs=1, cache=folder / f"here-{i}"))
    there = _best(lambda i: sweep(scenario, grid, jobs=WORKERS, cache=folder / f"there-{i}"))
    again = _best(lambda _: sweep(scenario, grid, jobs=1, cache=folder / "here-0"))
    per_point = [
        ("a run and its summary alone, in this process", bare),
        ("a point of a sweep, in this process", here),
        (f"a point of a sweep, each of {WORKERS} warm workers", there * WORKERS),
        ("a point that is cached", again),
    ]
    print(f"\n{TINY_POINTS} points of 20 requests, ms per point:")
    for what, seconds in per_point:
        print(f"  {what:50} {1e3 * seconds / len(grid):6.1f}")
    for what, seconds in (("in this process", here - bare), (f"per worker, {WORKERS} workers", there * WORKERS - bare)):
        cost = 1e3 * seconds / len(grid)
        print(f"  {'met' if cost < 50 else 'NOT MET':8}overhead {what}: {cost:.1f} ms per point (target: < 50 ms)")


def utilisation(folder: Path) -> None:
    """How much of the workers' time, from the first point's start to the last one's end, is spent in points."""
    scenario = folder / "second.yaml"
    scenario.write_text(ABOUT_A_SECOND)
    warm = [Work(str(scenario), seed) for seed in range(WORKERS)]
    list(run_all(timed, warm, jobs=WORKERS))
    spans = [span for _, span in run_all(timed, [Work(str(scenario), seed) for seed in range(LONG_POINTS)], jobs=WORKERS)]
    wall = max(span.ended for span in spans) - min(span.began for span in spans)
    inside = sum(span.ended - span.began for span in spans)
    busy, cpu = inside / (WORKERS * wall), sum(span.cpu_s for span in spans) / (WORKERS * wall)
    print(f"\n{LONG_POINTS} points of {inside / len(spans):.2f} s on {WORKERS} workers:")
    print(f"  {'met' if busy > 0.9 else 'NOT MET':8}workers are in a point {busy:.1%} of the time (target: > 90 %)")
    print(
        f"  {'met' if cpu > 0.9 else 'NOT MET':8}they use {cpu:.1%} of {WORKERS} cores (target: > 90 %; less where others use them)"
    )


def _best(work: Callable[[int], Sequence[object] | object]) -> float:
    seconds = []
    for i in range(ROUNDS):
        began = time.perf_counter()
        work(i)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
