"""The record's tables, from what a run left in its journal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.types import SLO, EngineState
from replay.journal import Journal, Step
from replay.outcome import tables
from replay.request import Request
from traces.record import Record
from traces.scenario import Scenario, load_scenario
from traces.workload import RequestClass

CHAT = RequestClass("chat", "t", "llama-3.1-8b", slo=SLO(1.0, 0.1))
BATCH = RequestClass("batch", "b", "llama-3.1-8b", offline=True)


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    path = tmp_path / "s.yaml"
    path.write_text(
        "model: llama-3.1-8b\nfleet: {gpu: h200, gpus: 2}\n"
        "workload: [{name: chat, trace: {prompt_tokens: 8, output_tokens: 4}, rate: 1/s, requests: 3}]\n"
    )
    return load_scenario(path)


def journal() -> Journal:
    kept = Journal()
    served = Request(1, CHAT, 0, 1.0, 100, 3)
    served.sent_s, served.engine, served.outcome, served.first_scheduled_s = 1.01, "e1", "completed", 1.2
    for at in (2.0, 2.05, 2.5):
        served.emitted(1, at)
    served.cached_tokens, served.preemptions = 64, 2
    lost = Request(0, BATCH, 1, 0.5, 50, 9)
    lost.outcome, lost.engine = "failed", "e0"
    lost.emitted(2, 0.9)
    waits = Request(2, CHAT, 0, 3.0, 10, 1)
    for request in (served, lost, waits):
        kept.offered(request)
    kept.step(1, Step(0, 1.2, 2.0, 36, 700.0, 1, 0, 0, 0, 1, 0, 112))
    kept.step(1, Step(1, 2.0, 2.05, 0, 0.0, 0, 1, 101, 0, 1, 0, 112))
    for index in (0, 1):
        kept.stage(0.0, index, EngineState.ACTIVE)
    kept.stage(0.95, 0, EngineState.FAILED)
    return kept


def test_requests_are_in_the_order_in_which_they_were_sent(scenario: Scenario) -> None:
    rows = tables(journal(), (CHAT, BATCH), ["e0", "e1"], scenario)[0].to_pylist()
    assert [row["id"] for row in rows] == [0, 1, 2]
    lost, served, waits = rows
    assert served["ttft_s"] == pytest.approx(0.99)
    assert served["queue_s"] == pytest.approx(0.19)
    assert served["tpot_s"] == pytest.approx(0.25)
    assert served["e2e_s"] == pytest.approx(1.49)
    assert served["dslo_lateness_s"] == pytest.approx(2.5 - (1.01 + 1.0 + 0.2))
    assert (served["intended_arrival_s"], served["engine"], served["cached_tokens"], served["preemptions"]) == (1.0, "e1", 64, 2)
    assert (lost["outcome"], lost["e2e_s"], lost["dslo_lateness_s"], lost["output_tokens"]) == ("failed", None, None, 2)
    assert (waits["outcome"], waits["engine"], waits["ttft_s"], waits["tpot_s"]) == ("unfinished", None, None, None)


def test_gaps_are_counted_per_class_in_bins_of_half_a_percent(scenario: Scenario) -> None:
    rows = tables(journal(), (CHAT, BATCH), ["e0", "e1"], scenario)[3].to_pylist()
    chat = [(row["gap_s"], row["count"]) for row in rows if row["class"] == "chat"]
    assert [count for _, count in chat] == [1, 1]
    assert np.allclose([gap for gap, _ in chat], [0.05, 0.45], rtol=0.005)
    assert [row["count"] for row in rows if row["class"] == "batch"] == [1]  # two tokens at once


def test_steps_and_fleet_are_as_the_engines_told(scenario: Scenario) -> None:
    _, steps, fleet, _ = tables(journal(), (CHAT, BATCH), ["e0", "e1"], scenario)
    assert steps.column("duration_s").to_pylist() == pytest.approx([0.8, 0.05])
    assert steps.column("engine").to_pylist() == ["e1", "e1"]
    assert [(row["engine"], row["state"]) for row in fleet.to_pylist()] == [("e0", "active"), ("e1", "active"), ("e0", "failed")]


def test_the_tables_are_those_of_a_record(scenario: Scenario, tmp_path: Path) -> None:
    manifest = {"twinserve": "0", "world": "replay", "scenario": {}, "seed": 0, "window_s": [0, 4], "end_s": 4.0, "hashes": {}}
    record = Record(manifest, *tables(journal(), (CHAT, BATCH), ["e0", "e1"], scenario))
    assert len(Record.read(record.write(tmp_path / "r").path or tmp_path).requests) == 3


def test_a_run_that_never_began_leaves_empty_tables(scenario: Scenario) -> None:
    assert [len(table) for table in tables(Journal(), (CHAT,), ["e0"], scenario)] == [0, 0, 0, 0]
