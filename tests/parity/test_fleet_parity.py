"""Scalers, hand-over, faults and drafts on real vLLM engines: small models on the CPU, several in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.replaying import IN_PROCESS, served

LONGER = ["duration=1s", "workload.chat.rate=30/s"]
DRAFTS = "engine.speculative={method: METHOD, num_speculative_tokens: 4, acceptance: [0.9, 0.8, 0.7, 0.6]}"
PAIR = "fleet=[{gpu: h200, gpus: 1, role: prefill, name: p}, {gpu: h200, gpus: 1, role: decode, name: d}]"


def test_a_scaler_brings_real_engines_up_and_takes_them_down(tmp_path: Path) -> None:
    scaler = "policy.scaler=tests.parity.scripted:ByTheClock"
    record = served(IN_PROCESS, tmp_path, *LONGER, scaler, "fleet.parked=1", "fleet.start_up=60ms")
    rows = list(zip(*(record.fleet.column(name).to_pylist() for name in ("engine", "state", "time_s")), strict=True))
    assert [state for engine, state, _ in rows if engine == "e0"] == ["active", "draining", "parked"]
    assert [state for engine, state, _ in rows if engine == "e1"] == ["parked", "starting", "active"]
    at = {(engine, state): time for engine, state, time in rows}
    assert at["e1", "active"] >= at["e1", "starting"] + 0.06
    requests = record.requests.to_pydict()
    sent = list(zip(requests["arrival_s"], requests["engine"], requests["outcome"], strict=True))
    assert {engine for arrival, engine, _ in sent if arrival < at["e1", "active"]} == {"e0"}
    assert {engine for arrival, engine, _ in sent if arrival > at["e0", "draining"]} == {"e1"}
    assert {outcome for _, _, outcome in sent} == {"completed"}
    moved = [entry for entry in record.decisions or () if entry["point"] == "scaler" and entry["changes"]]
    assert [change["change"] for entry in moved for change in entry["changes"]] == ["Activate", "Move", "Drain"]


def test_requests_that_lose_their_engine_start_over_and_keep_their_tokens(tmp_path: Path) -> None:
    faults = "faults={events: [{engine: e0, at: 400ms, for: 200ms}]}"
    record = served(IN_PROCESS, tmp_path, *LONGER, faults, "fleet.start_up=50ms")
    assert record.fleet.column("state").to_pylist()[2:5] == ["failed", "starting", "active"]
    assert record.manifest["faults"]["failures"] == 1
    assert set(record.requests.column("outcome").to_pylist()) == {"completed"}


def test_the_kv_of_a_prompt_moves_from_the_prefill_to_the_decode_engine(tmp_path: Path) -> None:
    record = served(IN_PROCESS, tmp_path, PAIR)
    requests, steps = record.requests.to_pydict(), record.steps.to_pydict()
    assert set(requests["outcome"]) == {"completed"}
    assert set(requests["engine"]) == {"e1"}
    assert record.manifest["kv_transfers"]["transfers"] == len(requests["id"])
    asked = [entry for entry in record.decisions or () if entry["point"] == "router"]
    assert len(asked) == 2 * len(requests["id"])
    assert sum("kv_engine" in entry["request"] for entry in asked) == len(requests["id"])
    computed = dict.fromkeys(("e0", "e1"), 0)
    for engine, tokens in zip(steps["engine"], steps["prefill_tokens"], strict=True):
        computed[engine] += tokens
    assert computed["e0"] >= sum(requests["prompt_tokens"])
    block = 32  # what is left of the last block, and the first token
    assert computed["e1"] <= (block + 1) * len(requests["id"]) < sum(requests["prompt_tokens"])


@pytest.mark.parametrize("method", ["ngram", "draft_model"])
def test_a_speculator_chooses_what_real_engines_verify(method: str, tmp_path: Path) -> None:
    fixed = served(IN_PROCESS, tmp_path, DRAFTS.replace("METHOD", method), "policy.speculator={fixed-k: {k: 2}}")
    drafted, accepted = (sum(fixed.requests.column(name).to_pylist()) for name in ("drafted_tokens", "accepted_tokens"))
    assert drafted > accepted > 0
    if method == "draft_model":
        assert 0.6 < accepted / drafted < 0.95, "as the scenario says, although random weights agree on nothing"
    points = [entry["point"] for entry in fixed.decisions or ()]
    assert points.count("speculator") > 10
