"""Golden metrics: every number is worked out by hand from the table in golden.py."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.traces.golden import NAN, golden_record, uniform_record
from traces.metrics import METRICS, Estimate, summarise


@pytest.fixture(scope="module")
def summary():
    return summarise(golden_record())


def value(metrics, key):
    return metrics[key].value


def test_ttft_is_over_measured_requests_with_a_first_token(summary):
    # 1, 4, 2, 0.5, 1 (request 3 was shed, request 6 arrives after the window)
    assert value(summary.metrics, "ttft_s.mean") == pytest.approx(8.5 / 5)
    assert value(summary.metrics, "ttft_s.p50") == 1.0
    # sorted 0.5 1 1 2 4; p90 stands at rank 0.9 × 4 = 3.6: 2 + 0.6 × (4 − 2)
    assert value(summary.metrics, "ttft_s.p90") == pytest.approx(3.2)
    assert summary.metrics["ttft_s.p90"].n == 5


def test_tpot_is_one_mean_per_request_with_two_tokens_or_more(summary):
    # 0.5, 0.1, 0.25, 0.5
    assert value(summary.metrics, "tpot_s.mean") == pytest.approx(1.35 / 4)
    assert value(summary.metrics, "tpot_s.p50") == pytest.approx(0.375)


def test_itl_counts_every_gap_once_so_long_answers_weigh_more(summary):
    # gaps: 4 × 0.5, 10 × 0.1, 2 × 0.25, 6 × 0.5: 6.5 s in 22 gaps
    assert value(summary.metrics, "itl_s.mean") == pytest.approx(6.5 / 22)
    # 10 gaps of 0.1 are 45 %, with 2 of 0.25 55 %: the median is 0.25, p90 is 0.5
    assert value(summary.metrics, "itl_s.p50") == 0.25
    assert value(summary.metrics, "itl_s.p90") == 0.5
    assert summary.metrics["itl_s.p50"].n == 22
    # the batch tier has the ten gaps of request 1 alone
    assert value(summary.tiers["batch"], "itl_s.p99") == pytest.approx(0.1)
    assert value(summary.tiers["batch"], "itl_s.mean") == pytest.approx(0.1)


def test_e2e_and_queueing(summary):
    assert value(summary.metrics, "e2e_s.mean") == pytest.approx((3 + 5 + 2.5 + 0.5) / 4)
    assert value(summary.metrics, "queue_s.mean") == pytest.approx((0.5 + 3 + 1 + 0 + 0.5) / 5)


def test_attainment_counts_shed_and_unfinished_requests_as_misses_over_offered(summary):
    # judged: 0, 2, 3, 4, 5 (request 1 has no SLO); met: 0 and 4
    assert value(summary.metrics, "attainment") == pytest.approx(2 / 5)
    assert summary.metrics["attainment"].n == 5
    # admitted: the same without request 3
    assert value(summary.metrics, "attainment_admitted") == pytest.approx(2 / 4)


def test_a_class_without_slo_has_no_attainment_and_no_goodput(summary):
    for key in ("attainment", "attainment_admitted", "goodput_req_s", "goodput_tok_s"):
        assert value(summary.classes["bulk"], key) is None


def test_goodput_is_what_attaining_requests_bring_per_second_of_the_window(summary):
    assert value(summary.metrics, "goodput_req_s") == pytest.approx(2 / 10)
    assert value(summary.metrics, "goodput_tok_s") == pytest.approx((5 + 1) / 10)


def test_throughput_counts_what_happened_inside_the_window(summary):
    # completed before 10 s: requests 0, 1, 2, 4
    assert value(summary.metrics, "throughput_req_s") == pytest.approx(4 / 10)
    # 5 + 11 + 3 + 1 tokens, and of request 5 the token at 9 s and 2 per second for one second
    assert value(summary.metrics, "throughput_tok_s") == pytest.approx((20 + 3) / 10)
    assert value(summary.metrics, "throughput_input_tok_s") == pytest.approx((100 + 200 + 300 + 500 + 600) / 10)


def test_a_request_that_arrived_before_the_window_counts_for_throughput_only():
    late = summarise(golden_record(manifest={"window_s": [2.0, 10.0]}))
    assert value(late.metrics, "requests.offered") == 3  # requests 3, 4, 5
    assert value(late.metrics, "ttft_s.mean") == pytest.approx((0.5 + 1) / 2)
    # request 0: 2 per second from 2 to 3 s; all of 1, 2 and 4; 3 tokens of request 5
    assert value(late.metrics, "throughput_tok_s") == pytest.approx((2 + 11 + 3 + 1 + 3) / 8)


def test_cost_runs_from_an_engines_first_row_until_it_is_released(summary):
    # e0: 1 GPU × 10 s; e1: 2 GPUs from 2 s (starting) to 8 s (released)
    assert value(summary.metrics, "gpu_s") == pytest.approx(10 + 12)
    assert value(summary.metrics, "usd") == pytest.approx(22 * 3.6 / 3600)
    assert value(summary.metrics, "usd_per_mtok") == pytest.approx(0.022 / 23e-6)


def test_cost_is_unknown_without_a_price():
    metrics = summarise(golden_record(manifest={"usd_per_gpu_hour": None})).metrics
    assert value(metrics, "usd") is None
    assert value(metrics, "usd_per_mtok") is None
    assert value(metrics, "gpu_s") == pytest.approx(22)


def test_prices_may_differ_by_gpu():
    metrics = summarise(golden_record(manifest={"usd_per_gpu_hour": {"h200": 7.2}})).metrics
    assert value(metrics, "usd") == pytest.approx(0.044)
    assert value(summarise(golden_record(manifest={"usd_per_gpu_hour": {"h100": 7.2}})).metrics, "usd") is None


def test_busy_and_kv_use_are_over_the_time_in_which_engines_could_work(summary):
    # serving: e0 10 s, e1 4 to 8 s; in steps: 2.5 + 1 + 1 s and the first second of the row that starts at 9 s
    assert value(summary.metrics, "busy") == pytest.approx(5.5 / 14)
    # used: 2.5 × 100 + 1 × 200 + 1 × 300 + 1 × 50; capacity: 10 × 1000 + 4 × 500
    assert value(summary.metrics, "kv_use.mean") == pytest.approx(800 / 12000)
    assert value(summary.metrics, "kv_use.max") == pytest.approx(300 / 500)


def test_kv_use_is_unknown_when_the_manifest_tells_no_capacity():
    metrics = summarise(golden_record(manifest={"engines": {}})).metrics
    assert value(metrics, "kv_use.mean") is None
    assert "capacity" in metrics["kv_use.mean"].note


def test_counts_add_up_to_the_offered_requests(summary):
    counts = {name: value(summary.metrics, f"requests.{name}") for name in ("offered", "completed", "shed", "unfinished", "failed")}
    assert counts == {"offered": 6, "completed": 4, "shed": 1, "unfinished": 1, "failed": 0}
    assert value(summary.metrics, "requests.admitted") == 5
    assert value(summary.metrics, "preemptions") == 3


def test_shares_of_cached_prompt_and_accepted_draft_tokens(summary):
    # scheduled prompts: 100 + 200 + 300 + 500 + 600 tokens
    assert value(summary.metrics, "prefix_hit") == pytest.approx(340 / 1700)
    assert value(summary.metrics, "draft_acceptance") == pytest.approx(5 / 20)
    assert value(summary.tiers["batch"], "draft_acceptance") is None


def test_tiers_and_classes_are_measured_by_themselves(summary):
    assert set(summary.tiers) == {"fast", "batch"}
    assert value(summary.tiers["fast"], "ttft_s.mean") == pytest.approx((1 + 2 + 0.5 + 1) / 4)
    assert value(summary.classes["bulk"], "ttft_s.p50") == 4.0
    assert value(summary.tiers["fast"], "throughput_tok_s") == pytest.approx(12 / 10)
    assert "gpu_s" not in summary.tiers["fast"]  # GPUs are shared: no tier owns their time


def test_a_tier_of_two_classes_is_the_union_of_its_classes():
    summary = summarise(golden_record(requests={"tier": ["only"] * 7}))
    assert value(summary.tiers["only"], "ttft_s.mean") == value(summary.metrics, "ttft_s.mean")
    assert value(summary.classes["bulk"], "ttft_s.mean") == 4.0
    assert value(summary.classes["bulk"], "itl_s.p50") == pytest.approx(0.1)


def test_every_metric_of_the_dictionary_is_in_the_summary_and_nothing_else(summary):
    assert set(summary.metrics) == {key for metric in METRICS for key in metric.keys}
    per_group = {key for metric in METRICS if metric.per_group for key in metric.keys}
    assert set(summary.tiers["fast"]) == per_group
    assert set(summary.classes["chat"]) == per_group


def test_a_percentile_from_too_few_samples_says_so(summary):
    assert summary.metrics["ttft_s.p99"].note == "from 5 samples; p99 needs 100"
    assert summary.metrics["ttft_s.p99"].hi is None
    rng = np.random.default_rng(1)
    enough = summarise(uniform_record(2000, ttft_s=rng.exponential(0.2, 2000)))
    assert enough.metrics["ttft_s.p99"].note == ""


def test_the_json_form_is_flat_strict_and_shows_unknown_as_null(summary):
    flat = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert {"scenario", "record", "metrics", "tiers", "warnings"} <= set(flat)
    assert flat["scenario"] == "golden"
    assert flat["metrics"]["attainment"] == pytest.approx(0.4)
    assert flat["metrics"]["attainment.lo"] < 0.4 < flat["metrics"]["attainment.hi"]
    assert flat["metrics"]["ttft_s.p50.n"] == 5
    assert flat["tiers"]["batch"]["attainment"] is None
    assert flat["tiers"]["batch"]["attainment.lo"] is None
    assert "p99 needs 100" in flat["metrics"]["ttft_s.p99.note"]


def test_a_summary_names_the_folder_of_its_record(tmp_path):
    assert summarise(golden_record()).record is None
    assert summarise(golden_record().write(tmp_path / "run")).record == str(tmp_path / "run")


def test_every_interval_holds_its_estimate():
    rng = np.random.default_rng(5)
    noisy = uniform_record(500, ttft_s=rng.exponential(0.5, 500), tpot_s=rng.exponential(0.05, 500))
    for estimate in summarise(noisy).metrics.values():
        if estimate.value is not None:
            assert estimate.lo is None or estimate.lo <= estimate.value + 1e-12
            assert estimate.hi is None or estimate.hi >= estimate.value - 1e-12


def test_a_latency_has_no_interval_below_zero(summary):
    assert summary.metrics["ttft_s.mean"].lo == 0.0


def test_an_empty_window_measures_nothing_and_invents_nothing():
    summary = summarise(golden_record(manifest={"window_s": [5.0, 5.0]}))
    assert value(summary.metrics, "requests.offered") == 0
    assert {estimate.value for key, estimate in summary.metrics.items() if key.startswith(("goodput", "throughput", "gpu"))} == {
        None
    }
    assert any("nothing was measured" in line for line in summary.warnings)


def test_a_run_that_never_produced_a_token_has_unknown_latency_not_zero():
    n = 20
    nothing = {name: [NAN] * n for name in ("queue_s", "ttft_s", "tpot_s", "e2e_s", "dslo_lateness_s")}
    summary = summarise(uniform_record(n, **nothing, output_tokens=0, engine=[None] * n, outcome="unfinished"))
    assert summary.metrics["ttft_s.p50"] == Estimate(None)
    assert value(summary.metrics, "attainment") == 0.0
    assert value(summary.metrics, "attainment_admitted") is None
    assert value(summary.metrics, "throughput_tok_s") == 0.0
