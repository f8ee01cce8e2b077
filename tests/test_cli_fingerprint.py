"""The fingerprint verbs as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twinserve import main

H200 = "llama-3.1-8b/h200/tp1/bf16"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fingerprint", *map(str, arguments)])


def test_list_groups_by_model_and_gpu_and_takes_a_pattern() -> None:
    result = call("list", "llama-2-7b/h100")
    assert result.exit_code == 0
    assert result.stdout.split() == ["llama-2-7b", "h100", "tp1/bf16", "tp2/bf16", "tp4/bf16"]
    assert H200 in json.loads(call("list", "--json").stdout)
    assert call("list", "gpt-2").exit_code == 2


def test_show_tells_steps_source_range_and_errors_and_draws(tmp_path: Path) -> None:
    picture = tmp_path / "fit.png"
    result = call("show", H200, "--plot", picture)
    assert result.exit_code == 0
    for part in ("assembled", "AIConfigurator", "calibrated for", "decode attention in its layer", "noise of a step"):
        assert part in result.stdout
    assert picture.stat().st_size > 20_000
    assert json.loads(call("show", H200, "--json").stdout)["name"] == H200


def test_predict_answers_within_the_range_and_refuses_beyond_unless_asked() -> None:
    inside = call("predict", H200, "--decode", 64, "--context", 2000, "--json")
    answer = json.loads(inside.stdout)
    assert 5e-3 < answer["seconds"] < 20e-3
    assert answer["extrapolated"] == []
    beyond = call("predict", H200, "--decode", 64, "--context", 200_000)
    assert beyond.exit_code == 2
    assert "decode_context_per_seq is 200,000, beyond the 65,536" in beyond.stderr
    asked = call("predict", H200, "--decode", 64, "--context", 200_000, "--extrapolate")
    assert asked.exit_code == 0
    assert "Warning: extrapolated" in asked.stdout


def test_draft_tokens_cost_less_than_as_many_requests() -> None:
    def seconds(*arguments: object) -> float:
        return float(json.loads(call("predict", H200, *arguments, "--json").stdout)["seconds"])

    plain, verified, more = seconds("--decode", 32), seconds("--decode", 32, "--verify", 96), seconds("--decode", 128)
    assert plain < verified < more


def test_compare_warns_of_different_engine_versions() -> None:
    result = call("compare", H200, "llama-3.1-8b/a100/tp1/bf16")
    assert "Warning: A is of vllm 0.24.0, B of vllm 0.14.0" in result.stdout
    assert "decode 32 × 4096" in result.stdout
    assert "Warning" not in call("compare", H200, "llama-3.1-8b/h100/tp1/bf16").stdout


def test_fit_to_measured_tpot_recovers_what_was_put_in_and_writes_a_file(tmp_path: Path) -> None:
    from policies.latency import FingerprintLatency
    from traces.assembly.endtoend import closed_loop_tpot
    from traces.fingerprints import named_fingerprint

    latency = FingerprintLatency(named_fingerprint(H200))
    lines = ["concurrency,prompt_tokens,output_tokens,tpot_ms"]
    for concurrency in (1, 4, 16, 64):
        for prompt in (512, 4096):
            seconds = 1.2 * closed_loop_tpot(latency, concurrency, prompt, 512) + 0.5e-3 + 30e-6 * concurrency
            lines.append(f"{concurrency},{prompt},512,{1e3 * seconds}")
    table, out = tmp_path / "tpot.csv", tmp_path / "mine.json"
    table.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())  # as a spreadsheet writes it
    result = call("fit", H200, "--measured", table, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["provenance"] == "end-to-end"
    assert "GPU time × 1.2, + 0.5 ms per step + 30 µs per decoding request" in found["source"]
    assert found["errors"]["TPOT, row held out"][0] < 1e-6
    assert call("show", out).exit_code == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("concurrency,prompt_tokens,output_tokens\n1,2,3", "column tpot_ms is missing"),
        ("concurrency,prompt_tokens,output_tokens,tpot_ms\n1,512,512,0.007", r"csv:2: tpot_ms is 0.007; .* is it in seconds"),
        ("concurrency,prompt_tokens,output_tokens,tpot_ms\n1,512,512,7\n2,512,512,nan", "csv:3: every value is a positive number"),
        ("concurrency,prompt_tokens,output_tokens,tpot_ms\n1,512,512,7\n2,x,512,8", "csv:3: is not all numbers"),
        ("concurrency,prompt_tokens,output_tokens,tpot_ms\n1,512,512,7", "1 rows cannot tell three numbers"),
    ],
)
def test_a_bad_table_of_measurements_is_refused_by_the_row(tmp_path: Path, text: str, line: str) -> None:
    import re

    table = tmp_path / "tpot.csv"
    table.write_text(text)
    result = call("fit", H200, "--measured", table)
    assert result.exit_code == 2
    assert re.search(line, result.stderr)


def test_fit_from_tables_gives_the_librarys_file_and_checks_the_engine(shared_data: Path, tmp_path: Path) -> None:
    tables = shared_data / "perf" / "aiconfigurator"
    result = call("fit", H200, "--tables", tables, "--json", "--plot", tmp_path / "fit.png")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["terms"]["gemm"] == json.loads(call("show", H200, "--json").stdout)["terms"]["gemm"]
    refused = call("fit", H200, "--tables", tables, "--engine", "0.23.0")
    assert refused.exit_code == 2
    assert "tables of vllm 0.24.0, not of 0.23.0" in refused.stderr
    assert "nothing to fit to" in call("fit", H200).stderr


def test_noise_of_a_replay_is_small_and_its_quantiles_are_the_librarys(shared_data: Path) -> None:
    replay = shared_data / "perf" / "llmservingsim" / "bench" / "examples" / "RTXPRO6000" / "Llama-3.1-8B" / "vllm"
    found = json.loads(call("noise", "llama-3.1-8b/rtx-pro-6000/tp1/bf16", replay / "requests.jsonl", "--json").stdout)
    assert found["single_steps"] > 30
    assert 0.01 < found["sigma"] < 0.03
    assert abs(found["correlation"]) < 0.2
    refused = call("noise", H200, replay / "meta.json")
    assert refused.exit_code == 2
    assert "not a replay" in refused.stderr
    assert "nothing to look at" in call("noise", H200).stderr


def test_validate_refuses_a_folder_without_data_in_one_line_and_answers_in_json(tmp_path: Path) -> None:
    from tests.figures.validation.rows import data_folder

    refused = call("validate", tmp_path / "nothing")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "give the folder that holds the measured data" in refused.stderr
    found = json.loads(call("validate", data_folder(tmp_path), "--jobs", 1, "--json").stdout)
    assert {goal["metric"] for goal in found["goals"]} == {"tpot", "ttft"}
    assert found["left_out"]


def test_a_corrected_fingerprint_is_told_from_the_assembled_one() -> None:
    corrected, plain = (call("show", f"gpt-oss-120b/h200/tp2/mxfp4{at}", "--json").stdout for at in ("", "@assembled"))
    assert json.loads(corrected)["provenance"] == "end-to-end"
    assert json.loads(plain)["provenance"] == "assembled"
    refused = call("show", "gpt-oss-120b/h200/tp2/mxfp4@0.1")
    assert refused.exit_code == 2
    assert "no correction for engine version 0.1 (there are: @0.18.0)" in refused.stderr


def test_a_run_beyond_the_calibrated_range_is_refused_unless_asked_and_then_marked(tmp_path: Path) -> None:
    scenario = tmp_path / "wide.yaml"
    scenario.write_text(
        "model: llama-3.1-8b\nfleet: {gpu: a100, gpus: 1}\nengine: {max_num_batched_tokens: 16384, max_num_seqs: 64}\n"
        "workload: [{name: long, trace: {prompt_tokens: 12000, output_tokens: 8}, rate: 1/s, requests: 5}]\n"
    )
    refused = CliRunner().invoke(main, ["run", str(scenario)])
    assert refused.exit_code == 2
    assert "tokens reached 16,384, beyond the 8,192 that fingerprint llama-3.1-8b/a100/tp1/bf16" in refused.stderr
    asked = CliRunner().invoke(main, ["run", str(scenario), "--extrapolate"])
    assert asked.exit_code == 0
    assert "Warning: extrapolated: tokens reached" in asked.stdout.replace("\n", " ")


def test_a_run_on_data_sheets_says_how_wrong_they_were_elsewhere(tmp_path: Path) -> None:
    scenario = tmp_path / "sheet.yaml"
    scenario.write_text(
        "model: llama-3.1-8b\nfleet: {gpu: a6000, gpus: 1}\n"
        "engine: {max_model_len: 8192}\n"
        "workload: [{name: chat, trace: {prompt_tokens: 200, output_tokens: 8}, rate: 1/s, requests: 5}]\n"
    )
    result = CliRunner().invoke(main, ["run", str(scenario)])
    assert result.exit_code == 0, result.stderr
    assert "follow from data sheets" in result.stdout.replace("\n", " ")
