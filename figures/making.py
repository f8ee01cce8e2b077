"""Making figures: few of them one after another, each on all cores; many of them side by side, one on each core.

The runs of a figure come in rounds, and at the end of each some cores wait. Beside other figures none does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from figures import frame, gallery
from figures.frame import Figure, Produced
from figures.progress import FigureProgress
from figures.runner import SweepRunner, Watch
from figures.style import Theme
from sim.backends import local_jobs, run_all
from traces.errors import InputError

_MANY = 2
"""Figures per core from which they are made side by side."""


@dataclass(frozen=True, slots=True)
class How:
    """``out``: a folder. ``cache``: a folder that keeps results, ``None`` = nothing is kept. ``traces``: as ``frame.produce``."""

    out: Path
    theme: Theme
    quick: bool = False
    cache: Path | None = None
    traces: Path | None = None


class Made(NamedTuple):
    """A figure, or what was wrong, one line each. ``seconds``: how long all cores took for it; beside others, its part of that."""

    name: str
    produced: Produced | None
    faults: tuple[str, ...]
    seconds: float


def make(figures: Sequence[Figure], how: How, jobs: int | None = None, *, progress: bool = False) -> Iterator[Made]:
    """Each figure as it is done, in their order. ``jobs``: processes, by default one per core.

    A figure of the gallery comes out the same whichever way it is made.
    """
    cores = jobs or local_jobs()
    if cores == 1 or len(figures) < _MANY * cores:
        for figure in figures:
            with FigureProgress(enabled=progress) as line:
                made = _made(figure, how, jobs, line.watch)
            yield made
        return
    done: dict[int, Made] = {}
    told = 0
    with FigureProgress(enabled=progress) as line:
        for index, made in run_all(_alone, [(figure.name, how) for figure in figures], jobs=cores):
            done[index] = made._replace(seconds=made.seconds / cores)
            while told in done:
                line.clear()
                yield done[told]
                told += 1
            line.watch(len(done), len(figures))


def _alone(task: tuple[str, How]) -> Made:
    """In a worker, on one core."""
    name, how = task
    return _made(gallery.figure(name), how, 1)


def _made(figure: Figure, how: How, jobs: int | None, watch: Watch | None = None) -> Made:
    began = time.monotonic()
    runner = SweepRunner(quick=how.quick, cache=how.cache, jobs=jobs, watch=watch)
    produced, faults = None, ()
    try:
        produced = frame.produce(figure, runner, how.out, how.theme, how.traces)
    except InputError as error:
        faults = tuple(f"figure {figure.name}: {fault}" for fault in error.faults)
    return Made(figure.name, produced, faults, time.monotonic() - began)
