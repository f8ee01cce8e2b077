"""What lies between clients and the fleet takes its time, and loses no request."""

from __future__ import annotations

from typing import Any

import pytest

from policies.fingerprint import Fingerprint
from sim.run import simulate
from traces.record import Record
from traces.scenario import Scenario

STEP = Fingerprint.linear(overhead_s=0.01)


def run(entry: dict[str, Any], **more: Any) -> Record:
    trace = {"prompt_tokens": 100, "output_tokens": 5}
    document = {
        "model": "llama-3.1-8b",
        "fleet": {"gpu": "h200", "gpus": 1},
        "workload": [{"name": "a", "trace": trace, **entry}],
        "sim": {"noise": 0},
        **more,
    }
    return simulate(Scenario.model_validate(document), fingerprints=[STEP])


def column(record: Record, name: str) -> list[Any]:
    found: list[Any] = record.requests.column(name).to_pylist()
    return found


ALONE = {"load": {"concurrency": 1}, "requests": 3}
FRONT = {"frontend": {"base": "3ms", "per_token": 20e-6}}


def test_a_request_pays_for_itself_and_for_each_prompt_token() -> None:
    assert column(run(ALONE), "ttft_s") == pytest.approx([0.01] * 3)
    assert column(run(ALONE, **FRONT), "ttft_s") == pytest.approx([0.003 + 0.002 + 0.01] * 3)
    assert column(run(ALONE, **FRONT), "tpot_s") == pytest.approx([0.01] * 3)


def test_the_next_request_of_a_closed_loop_misses_the_step_that_begins_as_the_last_token_comes() -> None:
    two = {
        "load": {"concurrency": 2},
        "requests": 40,
        "trace": {"prompt_tokens": 100, "output_tokens": {"uniform": {"min": 40, "max": 90}}},
    }
    at_once, later = (
        sorted(column(run(two, **front), "ttft_s"))[20] for front in ({}, {"frontend": {"base": "1ms", "per_token": 0}})
    )
    assert at_once == pytest.approx(0.01, abs=1e-6)
    assert later == pytest.approx(0.02, abs=1e-6)  # 1 ms, the 9 ms that are left of a step, and its own


def test_arrivals_of_an_open_loop_pass_it_too() -> None:
    record = run({"rate": "2/s", "requests": 50}, **FRONT)
    assert min(column(record, "ttft_s")) == pytest.approx(0.015)
    assert column(record, "outcome") == ["completed"] * 50


def test_requests_that_are_still_in_it_at_the_end_are_unfinished_and_not_lost() -> None:
    record = run({"rate": "50/s"}, duration="1s", drain="0s", frontend={"base": "200ms", "per_token": 0})
    outcomes = column(record, "outcome")
    assert set(outcomes) == {"completed", "unfinished"}
    arrivals = column(record, "arrival_s")
    assert all(a is not None for a in arrivals)
    assert [o for a, o in zip(arrivals, outcomes, strict=True) if a > 0.81] == ["unfinished"] * sum(a > 0.81 for a in arrivals)
