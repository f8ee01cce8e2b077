"""Records that are meant to be equal, held against each other request by request."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow.compute as pc
import pytest

from sim.run import simulate
from traces.agreement import agreement, alike
from traces.errors import InputError
from traces.record import Record
from traces.scenario import load_scenario

SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload: [{name: chat, trace: {prompt_tokens: 300, output_tokens: 20}, rate: 20/s, requests: 30}]
sim: {noise: off}
decisions: full
"""


@pytest.fixture
def record(tmp_path: Path) -> Record:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    return simulate(load_scenario(path))


def changed(record: Record, column: str, factor: float) -> Record:
    table = record.requests
    place = table.schema.get_field_index(column)
    values = pc.multiply(table.column(column), factor).cast(table.schema.field(place).type)
    return dataclasses.replace(record, requests=table.set_column(place, table.schema.field(place), values))


def test_a_record_agrees_with_itself(record: Record) -> None:
    found = agreement(record, record)
    assert found.equal
    assert (found.requests, found.decisions, set(found.worst.values())) == (30, 0, {0.0})
    assert (found.decided or 0) > 30


@pytest.mark.parametrize(
    ("column", "factor", "equal"), [("ttft_s", 1.009, True), ("ttft_s", 1.011, False), ("tpot_s", 0.98, False)]
)
def test_one_percent_is_the_limit(record: Record, column: str, factor: float, equal: bool) -> None:
    found = agreement(changed(record, column, factor), record)
    assert found.equal is equal
    assert found.worst[column] == pytest.approx(abs(factor - 1))


def test_a_count_must_be_the_same(record: Record) -> None:
    found = agreement(changed(record, "output_tokens", 2), record)
    assert not found.equal
    assert found.differ["output_tokens"] == 30


def test_decisions_are_compared_per_decider(record: Record) -> None:
    log = list(record.decisions or ())
    routers = [entry for entry in log if entry["point"] == "router"]
    batchers = [entry for entry in log if entry["point"] == "batcher"]
    assert agreement(dataclasses.replace(record, decisions=[*batchers, *routers]), record).equal
    other = [{**routers[0], "engine": "e9"}, *routers[1:], *batchers]
    found = agreement(dataclasses.replace(record, decisions=other), record)
    assert (found.equal, found.decisions) == (False, 1)
    assert found.first is not None
    assert found.first[0]["engine"] == "e9"
    fewer = agreement(dataclasses.replace(record, decisions=[*routers[:-1], *batchers]), record)
    assert fewer.decisions == 1


def test_without_a_log_there_is_nothing_to_say_of_decisions(record: Record) -> None:
    found = agreement(dataclasses.replace(record, decisions=None), record)
    assert found.equal
    assert found.decided is None


def test_other_requests_are_refused(record: Record) -> None:
    with pytest.raises(InputError, match="different requests"):
        agreement(dataclasses.replace(record, requests=record.requests.slice(1)), record)


def test_rounding_is_no_difference() -> None:
    assert alike({"a": [0.1 + 0.2], "latency": 1}, {"a": [0.3], "latency": 2})
    assert not alike({"a": [0.3001]}, {"a": [0.3]})
    assert not alike({"a": None}, {"a": 0.0})
