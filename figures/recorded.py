"""Recorded traces in the place of their statistics, where a folder holds them: for whoever may copy what we may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from figures.runner import Highest, Runner, Sweep

if TYPE_CHECKING:
    from pandas import DataFrame


class Recorded:
    """A runner whose scenarios take the published traces that they name from files below ``folder``, as far as those are there.

    A file goes by the stem of its published name (``twinserve traces get`` keeps that), so that excerpts and packed files count.
    Arrivals stay what the scenario says of them; without any, they are the recorded ones.
    """

    def __init__(self, runner: Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder

    @property
    def quick(self) -> bool:
        return self._runner.quick

    def sweep(self, asked: Sweep) -> DataFrame:
        return self._runner.sweep(replace(asked, sets=self._recorded(asked)))

    def sweeps(self, asked: Sequence[Sweep]) -> list[DataFrame]:
        return self._runner.sweeps([replace(one, sets=self._recorded(one)) for one in asked])

    def highest(self, asked: Highest) -> DataFrame:
        return self._runner.highest(replace(asked, sets=self._recorded(asked)))

    def rest_on(self, sentence: str, seeds: Sequence[int] = ()) -> None:
        self._runner.rest_on(sentence, seeds)

    def _recorded(self, asked: Sweep | Highest) -> tuple[str, ...]:
        """The overrides, and those that name a file for every workload whose trace has one."""
        from traces.scenario import load_scenario

        entries = load_scenario(asked.scenario, asked.sets).workload
        files = {entry.name: self._file(getattr(entry.trace, "builtin", None)) for entry in entries}
        return (*asked.sets, *(f"workload.{name}.trace={{file: {path}}}" for name, path in files.items() if path is not None))

    def _file(self, trace: str | None) -> Path | None:
        from traces.published import TRACES

        known = TRACES.get(trace or "")
        if known is None:
            return None
        return next(iter(sorted(path.resolve() for path in self._folder.rglob(f"{known.stem}.*") if path.suffix != ".json")), None)
