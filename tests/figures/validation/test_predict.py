"""Rows are simulated as their clients loaded the server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from figures.validation.measured import ClosedLoop, Replay, Stages
from figures.validation.predict import predict, predict_all
from figures.validation.scenarios import fingerprint_of, precision_of, scenarios, uncovered
from sim.run import simulate
from tests.figures.validation.rows import row
from traces.assembly.correction import Correction
from traces.corrections import System


def test_a_closed_loop_keeps_its_slots_filled_up_to_the_servers_limit() -> None:
    assert predict(row()).running == pytest.approx(16, rel=0.08)
    queued = predict(row(knobs={"max_num_seqs": 8, "enable_prefix_caching": False}))
    assert queued.running == pytest.approx(8, rel=0.08)
    assert queued.ttft_s > 4 * predict(row()).ttft_s


def test_tpot_grows_with_concurrency_and_ttft_with_the_prompt() -> None:
    few, many = row(load=ClosedLoop(2, 20, 0.8)), row(load=ClosedLoop(64, 640, 0.8), knobs={})
    assert predict(few).tpot_s < predict(many).tpot_s
    assert predict(row()).ttft_s < predict(row(prompt_tokens=4096)).ttft_s


@pytest.mark.parametrize("slots", [4, 32])
def test_a_step_planned_ahead_delays_a_request_by_what_the_asynchronous_engine_does(slots: int, tmp_path: Path) -> None:
    knobs = {"enable_prefix_caching": False}
    asked = row(load=ClosedLoop(slots, 10 * slots, 0.8), knobs=knobs)
    (exact,) = scenarios(replace(asked, knobs={**knobs, "async_scheduling": True}), tmp_path)
    requests = simulate(exact, fingerprints=[fingerprint_of(asked)]).requests
    ttft, tpot = (np.mean(requests.column(name).to_pylist()) for name in ("ttft_s", "tpot_s"))
    found = predict(asked)
    assert found.ttft_s == pytest.approx(ttft, rel=0.06)
    assert found.tpot_s == pytest.approx(tpot, rel=0.02)


def test_a_correction_and_its_front_end_are_in_the_prediction() -> None:
    plain = predict(row())
    slower = System("llama-3.1-8b", "h100", "bf16", "vllm 0.18.0", Correction(pace=1.2), 0.05, 0.0)
    found = predict(row(), slower)
    assert found.tpot_s == pytest.approx(1.2 * plain.tpot_s, rel=0.03)
    assert found.ttft_s > plain.ttft_s + 0.04


def test_synchronous_scheduling_costs_host_time_in_every_step() -> None:
    assert predict(row(async_scheduling=False)).tpot_s > predict(row()).tpot_s + 5e-4


def test_an_open_loop_is_the_mean_over_its_stages() -> None:
    knobs = {"enable_prefix_caching": False}
    both = predict(row(load=Stages((2.0, 20.0), (60.0, 60.0)), knobs=knobs))
    slow, fast = (predict(row(load=Stages((rate,), (60.0,)), knobs=knobs)) for rate in (2.0, 20.0))
    assert slow.tpot_s < both.tpot_s < fast.tpot_s
    assert both.tpot_s - slow.tpot_s > fast.tpot_s - both.tpot_s  # there are more requests in the fast stage


def test_a_replay_gives_every_request_its_latency() -> None:
    load = Replay((0.0, 0.5, 1.0), (100, 200, 300), (10, 20, 30), (0.1,) * 3, (0.01,) * 3)
    found = predict(row(load=load))
    assert found.requests is not None
    assert len(found.requests) == 3
    assert found.requests["ttft_s"].is_monotonic_increasing


def test_medians_answer_rows_that_are_medians() -> None:
    burst = row(load=ClosedLoop(16, 48, 0.8))
    assert predict(replace(burst, statistic="median")).ttft_s < predict(burst).ttft_s


def test_a_request_that_does_not_fit_is_refused_in_words() -> None:
    found = predict(row(model="llama-3.1-70b", gpu="h100", tensor_parallel=2, prompt_tokens=100_000, output_tokens=20_000))
    assert found.refused is not None
    assert "does not fit" in found.refused


def test_what_the_library_lacks_is_told() -> None:
    assert uncovered(row()) is None
    assert uncovered(row(model="glm-5")) == "model glm-5 is not in the library"
    assert uncovered(row(gpu="mi300x")) == "GPU mi300x is not in the library"
    assert uncovered(row(precisions=("nvfp4",))) == "no fingerprint of llama-3.1-8b in nvfp4 on 1 × h100"
    assert precision_of(row(model="llama-3.1-70b", gpu="h200", precisions=("fp8",), kv_precision="fp8")) == "fp8+kv-fp8"


def test_predictions_come_in_the_rows_order_and_repeat() -> None:
    rows = [(row(load=ClosedLoop(c, 4 * c, 0.8)), None) for c in (8, 1, 4)]
    first, again = predict_all(rows, jobs=1), predict_all(rows, jobs=1)
    assert first == again
    assert first[1].tpot_s < first[2].tpot_s < first[0].tpot_s
