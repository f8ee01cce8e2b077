from __future__ import annotations

import numpy as np
import pytest

from tests.traces.golden import NAN, golden_record, uniform_record
from traces.diagnosis import queue_growth
from traces.metrics import summarise


def warned(record, words):
    return any(words in line for line in summarise(record).warnings)


def stream(load, n=4000, seed=1):
    """Arrival and start of service of an M/M/1 queue that starts empty."""
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1 / load, n))
    service = rng.exponential(1.0, n)
    free, start = 0.0, np.empty(n)
    for i in range(n):
        start[i] = max(free, arrival[i])
        free = start[i] + service[i]
    return arrival, start


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [1.1, 1.5, 3.0])
def test_an_overloaded_queue_is_seen_to_grow(load):
    growth = queue_growth(*stream(load), 1e9)
    assert growth.shown
    assert growth.late > growth.early
    assert growth.share == pytest.approx(1 - 1 / load, abs=3 * growth.error)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_a_stable_queue_is_not_called_growing(load):
    for seed in range(40):
        assert not queue_growth(*stream(load, seed=seed), 1e9).shown


def test_requests_that_are_never_scheduled_make_a_queue_grow():
    arrival = np.arange(1000.0)
    start = np.where(np.arange(1000) % 4 == 0, np.nan, arrival)
    assert queue_growth(arrival, start, 1000.0).shown


def test_a_burst_that_drains_is_not_called_growing():
    arrival = np.sort(np.concatenate([np.linspace(0, 1000, 1000), np.linspace(600, 620, 300)]))
    start = np.maximum.accumulate(arrival)
    start = np.maximum(start, arrival[0] + np.arange(len(arrival)) / 1.5)
    assert not queue_growth(arrival, start, 1e9).shown


def test_what_a_short_run_cannot_tell_of_overload_is_said():
    arrival, start = stream(1.1, n=600, seed=0)
    record = uniform_record(600, arrival_s=arrival, intended_arrival_s=arrival, queue_s=start - arrival)
    (line,) = [line for line in summarise(record).warnings if "keeps up is open" in line]
    assert "grew by 7 % of the arrivals, and luck makes ±14 %" in line
    assert "an overload below 35 % need not show in so short a run" in line


def test_saturation_is_said_in_one_sentence():
    queue = np.arange(400.0)  # each waits a second longer than the one before it
    record = uniform_record(400, queue_s=queue, ttft_s=queue + 0.2, e2e_s=queue + 0.7)
    (line,) = [line for line in summarise(record).warnings if "growing" in line]
    assert "mean nothing" in line
    assert "\n" not in line


def test_a_stable_run_warns_of_nothing():
    assert summarise(uniform_record(400)).warnings == []


def test_a_growing_backlog_of_offline_work_is_not_saturation():
    queue = np.arange(400.0)
    assert not warned(uniform_record(400, offline=True, queue_s=queue), "growing")


def test_unfinished_requests_above_one_percent_are_reported():
    outcome = np.where(np.arange(400) >= 394, "unfinished", "completed")
    assert warned(uniform_record(400, outcome=list(outcome)), "6 of 400 measured online requests were unfinished")
    outcome = np.where(np.arange(400) >= 397, "unfinished", "completed")
    assert not warned(uniform_record(400, outcome=list(outcome)), "unfinished")


def test_objectives_that_were_meant_as_milliseconds_are_asked_about():
    asked = summarise(uniform_record(400, slo_ttft_s=500.0)).warnings
    assert [line for line in asked if "TTFT of 500 s" in line and "write ttft: 500ms" in line]
    assert warned(uniform_record(400, slo_tpot_s=50.0), "write tpot: 50ms")
    assert not warned(uniform_record(400, slo_ttft_s=30.0, slo_tpot_s=2.0), "plain number")


def test_the_manifests_warnings_and_a_partial_run_come_first():
    lines = summarise(golden_record(manifest={"warnings": ["extrapolated"], "partial": True})).warnings
    assert lines[0] == "extrapolated"
    assert "stopped at 12 s" in lines[1]


# --- what binds -------------------------------------------------------------------------------------------------------


def test_an_idle_fleet_states_its_headroom():
    # TTFT 0.25 of 1 s, TPOT 0.05 of 0.1 s: TPOT is the tighter one, at half of its limit
    words = summarise(uniform_record(200)).binding
    assert (
        words == "nothing binds: 50 % headroom (TPOT p99 of tier fast is at 50 % of its limit); engines are busy 50 % of the time"
    )


def test_without_an_slo_nothing_can_bind():
    assert "no SLO is set" in summarise(uniform_record(50, slo_ttft_s=NAN, slo_tpot_s=NAN)).binding


def test_the_tier_and_the_limit_that_are_missed_most_are_named():
    tier = ["fast" if i % 2 else "slow" for i in range(200)]
    tpot = [0.2 if i % 4 == 0 else 0.05 for i in range(200)]
    ttft = [2.0 if i % 20 == 0 else 0.25 for i in range(200)]
    words = summarise(uniform_record(200, tier=tier, tpot_s=tpot, ttft_s=ttft)).binding
    # multiples of 4 are slow to decode, all of them in tier slow; a fifth of those is late for its first token already
    assert "tier slow misses most: of 100 requests 40 decoded too slowly (TPOT), 10 had a late first token (TTFT)" in words


@pytest.mark.parametrize(
    ("running", "kv", "words"),
    [(2, 100, "at max_num_seqs"), (1, 990, "KV memory full"), (1, 100, "token budget")],
)
def test_the_resource_that_waiting_requests_lacked_is_named(running, kv, words):
    slow = golden_record(
        steps={"waiting": [3] * 4, "running": [running] * 4, "kv_tokens_used": [kv, kv, kv // 2, kv]},
    )
    assert words in summarise(slow).binding


def test_waiting_outside_the_engines_is_told_apart():
    record = uniform_record(200, ttft_s=2.0, queue_s=1.9)
    assert "95 % of TTFT queueing, before they reached an engine" in summarise(record).binding


def test_preemptions_point_at_kv_memory():
    record = uniform_record(200, tpot_s=0.2, preemptions=1)
    assert "200 preemptions show that KV memory ran out" in summarise(record).binding


def test_shed_requests_are_named_as_such():
    outcome = ["shed" if i % 4 == 0 else "completed" for i in range(200)]
    assert "of 200 requests 50 got shed" in summarise(uniform_record(200, outcome=outcome)).binding


@pytest.mark.parametrize(
    ("verdict", "words"), [("dslo", "decoded too slowly"), ("e2e", "too long as a whole"), ("ttft+tpot", "headroom")]
)
def test_what_binds_follows_the_verdict(verdict, words):
    record = uniform_record(200, dslo_lateness_s=0.1, slo_e2e_s=0.5)
    assert words in summarise(record, verdict).binding
