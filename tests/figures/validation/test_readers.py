"""Each data set is read with its rules, and a bad row is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from figures.validation import h100_ground_truth, inferencex, replays, silicon_sample
from figures.validation.measured import ClosedLoop, Measured, Replay, Stages
from tests.figures.validation.rows import GROUND_TRUTH, SILICON, data_folder
from traces.errors import InputError


def silicon(folder: Path, **changes: Any) -> Measured:
    (found,) = silicon_sample.read(data_folder(folder, [{**SILICON, **changes}]))
    return found


def test_a_silicon_row_is_read_in_seconds_with_what_inferencex_is_known_to_do(tmp_path: Path) -> None:
    found = silicon(tmp_path)
    assert (found.model, found.gpu, found.engine, found.precisions) == ("llama-3.1-8b", "h100", "vLLM", ("bf16",))
    assert (found.ttft_s, found.tpot_s) == pytest.approx((0.04, 0.0075))
    assert found.load == ClosedLoop(16, 160, 0.8)
    assert found.knobs["max_num_seqs"] == 16
    assert found.kv_precision == "fp8"
    assert found.async_scheduling
    assert found.excluded is None


def test_launch_scripts_that_differ_are_followed(tmp_path: Path) -> None:
    found = silicon(tmp_path, model_path="MiniMaxAI/MiniMax-M2.5", precision="fp8")
    assert found.knobs["max_num_seqs"] == 256
    assert found.kv_precision == "bf16"


def test_a_gap_analysis_row_has_the_engines_own_limits_and_synchronous_scheduling(tmp_path: Path) -> None:
    found = silicon(tmp_path, silicon_data_source="source_file=/somewhere/vllm/0.12.0/x.csv", backend_version="0.12.0")
    assert "max_num_seqs" not in found.knobs
    assert found.load == ClosedLoop(16, 160, 0.9)
    assert found.kv_precision == "bf16"
    assert not found.async_scheduling


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mode": "disagg", "batch_size": "", "tp_size": ""}, silicon_sample.DISAGGREGATED),
        ({"tp_size": 64}, silicon_sample.NODE),
        ({"moe_tp_size": 16}, silicon_sample.NODE),
        ({"attention_dp_size": 4, "tp_size": 2}, silicon_sample.DATA_PARALLEL),
        ({"moe_tp_size": 4}, silicon_sample.DATA_PARALLEL),
    ],
)
def test_rows_are_left_out_by_rule(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    assert silicon(tmp_path, **changes).excluded == reason


def test_a_measurement_that_is_listed_twice_counts_once(tmp_path: Path) -> None:
    first, again, other = silicon_sample.read(
        data_folder(tmp_path, [SILICON, {**SILICON, "id": "b"}, {**SILICON, "id": "c", "silicon_tpot_ms": 7.6}])
    )
    assert (first.excluded, again.excluded, other.excluded) == (None, silicon_sample.REPEATED, None)


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        ({"precision": "fp8", "gemm_quant_mode": "fp8"}, "fp8"),
        ({"precision": "fp8", "gemm_quant_mode": "fp8_block"}, "fp8_block"),
        ({"precision": "fp8", "gemm_quant_mode": "fp8", "model_path": "Qwen/Qwen3-235B-A22B-FP8"}, "fp8_block"),
        ({"precision": "fp4", "gemm_quant_mode": "nvfp4", "model_path": "openai/gpt-oss-120b"}, "mxfp4"),
    ],
)
def test_fp8_is_told_apart_by_scaling(tmp_path: Path, changes: dict[str, Any], precision: str) -> None:
    assert silicon(tmp_path, **changes).precisions == (precision,)


def test_a_time_that_is_not_positive_is_named_with_its_line(tmp_path: Path) -> None:
    folder = data_folder(tmp_path, [SILICON, {**SILICON, "silicon_ttft_ms": -3}])
    with pytest.raises(InputError, match=r"silicon_sample.*:3: silicon_ttft_ms is -3"):
        list(silicon_sample.read(folder))


def test_a_missing_file_and_a_missing_column_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the folder that holds the measured data"):
        list(inferencex.read(tmp_path))
    folder = data_folder(tmp_path, [{k: v for k, v in SILICON.items() if k != "isl"}])
    with pytest.raises(InputError, match="column isl is missing"):
        list(silicon_sample.read(folder))


def test_the_position_study_has_equal_lengths_and_medians(tmp_path: Path) -> None:
    (found,) = inferencex.read(data_folder(tmp_path))
    assert found.load == ClosedLoop(4, 40, 1.0)
    assert found.statistic == "median"


def test_an_open_loop_run_has_its_workloads_rates_and_output_tokens_from_its_own_numbers(tmp_path: Path) -> None:
    (found,) = h100_ground_truth.read(data_folder(tmp_path))
    assert found.load == Stages((5.0, 10.0), (600.0, 600.0))
    assert found.output_tokens == 250
    assert found.tpot_s == pytest.approx((2.0 - 0.036) / 249)


def test_stages_replace_their_summary_and_foreign_workloads_are_left_out(tmp_path: Path) -> None:
    stages = [{**GROUND_TRUTH, "stage_index": i} for i in (-1, 0, 1)]
    foreign = {**GROUND_TRUTH, "workload": "roleplay"}
    lite = {**GROUND_TRUTH, "exp": "2-llama-3-1-8b-tp1-general-lite-1", "workload": "general"}
    found = list(h100_ground_truth.read(data_folder(tmp_path, ground_truth=[*stages, foreign, lite])))
    assert [row.excluded for row in found] == [
        h100_ground_truth.SUMMARY, None, None, h100_ground_truth.REPEATED, h100_ground_truth.NO_RATE,
    ]  # fmt: skip
    assert [row.load.rates for row in found[1:3] if isinstance(row.load, Stages)] == [(5.0,), (10.0,)]


def test_a_replay_keeps_each_request_and_joins_its_two_clocks(tmp_path: Path) -> None:
    (found,) = replays.read(data_folder(tmp_path))
    assert isinstance(found.load, Replay)
    assert found.load.arrival_s == tuple(float(i) for i in range(8))
    assert found.ttft_s == pytest.approx(0.05)
    assert found.tpot_s == pytest.approx(0.01)


def test_the_real_files_are_read_with_the_counts_that_the_documentation_tells(shared_data: Path) -> None:
    rows = list(silicon_sample.read(shared_data))
    assert len(rows) == 1275
    assert sum(row.excluded == silicon_sample.NODE for row in rows) == 86
    assert sum(row.excluded == silicon_sample.DISAGGREGATED for row in rows) == 82
    assert len(list(inferencex.read(shared_data))) == 59
    assert len(list(h100_ground_truth.read(shared_data))) == 50
    assert [row.model for row in replays.read(shared_data)] == ["llama-3.1-8b", "qwen3-32b"]
