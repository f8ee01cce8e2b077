"""How the trials of a batch are run: one after the other, or side by side."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

from figures.tuning.study import Evaluate
from figures.tuning.trials import BlackBox, Outcome, Real
from policies.scoot.space import Config
from traces.scenario import load_scenario

_PORTS = 100
"""Between the servers of two trials that run side by side."""


@contextmanager
def evaluator(box: BlackBox, parallel: int) -> Iterator[Evaluate]:
    """Tries up to ``parallel`` configurations at once: simulated ones in processes, real ones each on ports of its own."""
    if parallel == 1:
        yield lambda pairs: [box(config, seed) for config, seed in pairs]
        return
    boxes = [_apart(box, place) for place in range(parallel)]

    def batch(pairs: Sequence[tuple[Config, int]]) -> list[Outcome]:
        found: list[Outcome] = []
        for start in range(0, len(pairs), parallel):
            part = pairs[start : start + parallel]
            under_way = [pool.submit(boxes[i], config, seed) for i, (config, seed) in enumerate(part)]
            found += [one.result() for one in under_way]
        return found

    with _pool(box, parallel) as pool:
        yield batch


def _pool(box: BlackBox, workers: int) -> Executor:
    if isinstance(box, Real):
        return ThreadPoolExecutor(workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with, initargs=(os.getpid(),))


def _apart(box: BlackBox, place: int) -> BlackBox:
    if not isinstance(box, Real) or place == 0:
        return box
    choice = load_scenario(box.scenario, box.sets).replay
    first = 8100 if choice is None else choice.port
    return dataclasses.replace(box, sets=(*box.sets, f"replay.port={first + _PORTS * place}"))


def _end_with(parent: int) -> None:
    """End this worker soon after its parent, which a kill gives no time to end its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
