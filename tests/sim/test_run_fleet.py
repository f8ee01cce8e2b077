"""Whole runs of fleets from scenarios: what the record tells of pools, transfers, failures and scaling."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from figures.fleetview import fleet_panels, pool_rows
from figures.panels import RunView
from policies.redecide import redecide_record
from sim.run import simulate
from traces.metrics import summarise
from traces.record import Record
from traces.scenario import Scenario

CHAT = {"name": "chat", "trace": "azure-2023-conv", "rate": "20/s", "slo": {"ttft": "1s", "tpot": "30ms"}}
COMMON = {"model": "llama-3.1-8b", "duration": "10s", "drain": "30s", "seed": 3}
APART = {
    **COMMON,
    "fleet": [
        {"name": "front", "role": "prefill", "gpu": "h200", "gpus": 2},
        {"name": "back", "role": "decode", "gpu": "h100", "gpus": 2},
    ],
    "workload": [CHAT],
}
FAULTY = {
    **COMMON,
    "fleet": {"gpu": "h200", "gpus": 3, "start_up": "1s"},
    "faults": {"events": [{"engine": "e0", "at": "3s", "for": "2s"}]},
    "workload": [CHAT],
}
SCALED = {
    **COMMON,
    "fleet": {"gpu": "h200", "gpus": 4, "parked": 3, "start_up": "500ms"},
    "policy": {"scaler": {"target-load": {"target": 4, "period_s": "1s", "stabilisation_s": "2s"}}},
    "workload": [CHAT],
}


def run(scenario: dict[str, Any], **more: Any) -> Record:
    return simulate(Scenario.model_validate({**scenario, **more}))


def test_a_record_tells_which_pool_an_engine_belongs_to_and_what_was_transferred() -> None:
    record = run(APART)
    engines = record.manifest["engines"]
    assert [(name, facts["pool"], facts["role"]) for name, facts in engines.items()] == [
        ("e0", "front", "prefill"),
        ("e1", "front", "prefill"),
        ("e2", "back", "decode"),
        ("e3", "back", "decode"),
    ]
    assert record.manifest["usd_per_gpu_hour"] == {"h200": 3.5, "h100": 2.5}
    outputs = np.array(record.requests.column("output_tokens").to_pylist())
    assert record.manifest["kv_transfers"]["transfers"] == (outputs > 1).sum()
    assert len(record.manifest["fingerprints"]) == 2
    assert set(record.requests.column("outcome").to_pylist()) == {"completed"}


def test_cost_is_that_of_each_pools_gpus() -> None:
    summary = summarise(run(APART))
    assert summary.metrics["gpu_s"].value == 40.0
    assert summary.metrics["usd"].value == 20 * (3.5 + 2.5) / 3600
    rows = pool_rows(RunView(run(APART)))
    assert [(row.name, row.what, row.engines) for row in rows] == [
        ("front", "llama-3.1-8b on h200, prefill", "2"),
        ("back", "llama-3.1-8b on h100, decode", "2"),
    ]
    assert pool_rows(RunView(run(FAULTY))) == []


def test_a_failure_is_in_the_fleets_table_and_its_requests_are_not_lost() -> None:
    record = run(FAULTY)
    states = [(row["time_s"], row["state"]) for row in record.fleet.to_pylist() if row["engine"] == "e0"]
    assert states == [(0.0, "active"), (3.0, "failed"), (5.0, "starting"), (6.0, "active")]
    assert record.manifest["faults"]["failures"] == 1
    assert record.manifest["faults"]["retried"] > 0
    assert set(record.requests.column("outcome").to_pylist()) == {"completed"}
    (panel,) = fleet_panels(RunView(record))
    assert "failed" in panel.note


def test_requests_fail_with_their_engine_where_the_scenario_says_so() -> None:
    faults = {**FAULTY["faults"], "on_failure": "fail"}
    outcomes = Counter(run(FAULTY, faults=faults).requests.column("outcome").to_pylist())
    assert outcomes["failed"] == run(FAULTY).manifest["faults"]["retried"]
    assert set(outcomes) == {"completed", "failed"}


def test_parked_engines_cost_nothing_and_starting_ones_do() -> None:
    record = run(SCALED)
    assert summarise(record).metrics["gpu_s"].value == sum(
        min(end, 10.0) - start for start, end in spans_of_gpu_time(record) if start < 10.0
    )
    assert {"parked", "starting", "active"} <= {row["state"] for row in record.fleet.to_pylist()}


def spans_of_gpu_time(record: Record) -> list[tuple[float, float]]:
    rows, found = record.fleet.to_pylist(), []
    for engine in {row["engine"] for row in rows}:
        life = [row for row in rows if row["engine"] == engine]
        until = [row["time_s"] for row in life[1:]] + [record.manifest["end_s"]]
        found += [(row["time_s"], end) for row, end in zip(life, until, strict=True) if row["state"] != "parked"]
    return found


def test_the_run_ends_with_its_last_request_though_timers_go_on() -> None:
    record = run(SCALED)
    last = max(a + e for a, e in zip(*(record.requests.column(name).to_pylist() for name in ("arrival_s", "e2e_s")), strict=True))
    assert record.manifest["end_s"] == last
    assert not record.partial


def test_scaling_and_routing_are_decided_again_from_the_record() -> None:
    for scenario in (SCALED, APART, FAULTY):
        record = run(scenario, decisions="full")
        assert record.decisions is not None
        again = redecide_record(record.manifest, list(record.decisions))
        assert again.same, again.differences[:1]


def test_equal_scenarios_give_equal_tables() -> None:
    for scenario in (SCALED, APART, {**FAULTY, "faults": {"mtbf": "8s", "mttr": "1s"}}):
        one, other = run(scenario), run(scenario)
        for name in ("requests", "steps", "fleet", "gaps"):
            assert getattr(one, name).equals(getattr(other, name))
