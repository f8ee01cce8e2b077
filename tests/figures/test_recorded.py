"""Figures take recorded traces where a folder holds them, and their statistics where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from figures.polyserve.setting import SCENARIO
from figures.recorded import Recorded
from figures.runner import Highest, Sweep
from traces.scenario import load_scenario


class Asked:
    """Notes what it is asked for."""

    quick = True

    def __init__(self) -> None:
        self.sets: list[tuple[str, ...]] = []

    def sweep(self, asked: Sweep) -> pd.DataFrame:
        self.sets.append(tuple(asked.sets))
        return pd.DataFrame()

    def highest(self, asked: Highest) -> pd.DataFrame:
        raise AssertionError("not asked for here")

    def rest_on(self, *_: Any) -> None: ...


def asked(folder: Path, *sets: str) -> tuple[str, ...]:
    runner = Asked()
    Recorded(runner, folder).sweep(Sweep(SCENARIO, {}, [1], ["attainment_dslo"], sets))
    return runner.sets[0]


def test_a_trace_whose_file_is_there_is_taken_from_it_whatever_it_is_packed_in(tmp_path: Path) -> None:
    trace = tmp_path / "azure" / "AzureLLMInferenceTrace_conv.first40min.csv"
    trace.parent.mkdir()
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n2023-11-16 18:15:50.99,396,109\n")
    trace.with_name("AzureLLMInferenceTrace_conv.csv.source.json").write_text("{}")
    sets = asked(tmp_path, "workload.chat.rate=100/s")
    assert sets == ("workload.chat.rate=100/s", f"workload.chat.trace={{file: {trace}}}")
    assert load_scenario(SCENARIO, sets).workload[0].trace.file == str(trace)  # type: ignore[union-attr]


def test_other_traces_stay_what_they_are(tmp_path: Path) -> None:
    assert asked(tmp_path, "workload.chat.rate=100/s") == ("workload.chat.rate=100/s",)
    lengths = "workload.chat.trace={prompt_tokens: 10, output_tokens: 5}"
    assert asked(tmp_path, lengths) == (lengths,)
