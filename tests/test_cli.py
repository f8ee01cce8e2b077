"""The command line as a user meets it: through click's runner, and as a process where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from traces.record import Record
from twinserve import main

SMALL = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload: [{name: chat, trace: azure-2023-conv, rate: 4/s, requests: 200, slo: {ttft: 500ms, tpot: 30ms}}]
"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_run_prints_the_verdict_and_writes_a_record(scenario: Path, tmp_path: Path) -> None:
    result = call("run", scenario, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "attainment" in result.stdout
    assert result.stderr == ""
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    record = Record.read(tmp_path / "out")
    assert record.requests.num_rows == 200


def test_json_is_one_object_with_units_and_intervals_in_its_keys(scenario: Path) -> None:
    result = call("run", scenario, "--json")
    answer = json.loads(result.stdout)
    assert {"scenario", "record", "metrics", "tiers", "warnings"} <= answer.keys()
    for key in (
        "ttft_s.p50", "ttft_s.p99", "tpot_s.p50", "e2e_s.mean", "attainment", "attainment_admitted", "goodput_req_s",
        "goodput_tok_s", "throughput_tok_s", "gpu_s", "usd_per_mtok",
    ):  # fmt: skip
        assert {key, f"{key}.lo", f"{key}.hi"} <= answer["metrics"].keys()
    assert answer["scenario"] == "small"


def test_equal_hashes_mean_byte_identical_tables(scenario: Path, tmp_path: Path) -> None:
    """INV-7 determinism, across processes with different hash seeds."""
    for name, hash_seed in (("a", "1"), ("b", "2")):
        command = [sys.executable, "-m", "twinserve", "run", str(scenario), "--out", str(tmp_path / name), "--quiet"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}, timeout=120)
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("a", "b")]
    assert manifests[0]["hashes"] == manifests[1]["hashes"]
    for table in ("requests", "steps", "fleet", "gaps"):
        assert (tmp_path / "a" / f"{table}.parquet").read_bytes() == (tmp_path / "b" / f"{table}.parquet").read_bytes()


def test_another_seed_gives_another_run(scenario: Path, tmp_path: Path) -> None:
    call("run", scenario, "--out", tmp_path / "a", "--seed", 1)
    call("run", scenario, "--out", tmp_path / "b", "--seed", 2)
    a, b = (Record.read(tmp_path / name) for name in ("a", "b"))
    assert a.requests.column("ttft_s") != b.requests.column("ttft_s")
    assert (a.manifest["seed"], b.manifest["seed"]) == (1, 2)


def test_leap_off_gives_the_same_requests(scenario: Path, tmp_path: Path) -> None:
    call("run", scenario, "--out", tmp_path / "a")
    call("run", scenario, "--out", tmp_path / "b", "--set", "sim.leap=off")
    a, b = (Record.read(tmp_path / name).requests.drop_columns(["dslo_lateness_s"]) for name in ("a", "b"))
    assert a.equals(b)


def test_report_writes_one_page(scenario: Path, tmp_path: Path) -> None:
    call("run", scenario, "--out", tmp_path / "out")
    result = call("report", tmp_path / "out", "--out", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_a_closed_loop_keeps_its_concurrency(tmp_path: Path) -> None:
    path = tmp_path / "closed.yaml"
    path.write_text(
        """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload: [{name: loop, trace: {prompt_tokens: 64, output_tokens: 32}, load: {concurrency: 8}, requests: 64}]
"""
    )
    call("run", path, "--out", tmp_path / "out")
    record = Record.read(tmp_path / "out")
    arrivals = record.requests.column("arrival_s").to_pylist()
    ends = [a + e for a, e in zip(arrivals, record.requests.column("e2e_s").to_pylist(), strict=True)]
    assert len(arrivals) == 64
    for at in arrivals:
        assert sum(a <= at < e for a, e in zip(arrivals, ends, strict=True)) <= 8
    assert max(record.steps.column("running").to_pylist()) == 8


_ANY = "{name: c, trace: azure-2023-conv}"
_FILE = "{name: c, trace: {file: t.csv}}"
_LONG = "{name: c, trace: {prompt_tokens: 200000, output_tokens: 1}, rate: 1/s, requests: 1}"
_COLUMNS = "arrival_s,prompt_tokens,output_tokens\n"
BAD = {
    "missing file": ("workload: [{name: c, trace: {file: none.csv}}]", None, "no such file"),
    "negative tokens": (f"workload: [{_FILE}]", _COLUMNS + "0,-5,1\n", "line 2"),
    "tokens not a number": (f"workload: [{_FILE}]", _COLUMNS + "0,nan,1\n", "line 2"),
    "unsorted": (f"workload: [{_FILE}]", _COLUMNS + "5,5,1\n1,5,1\n", "line 3"),
    "wrong columns": (f"workload: [{_FILE}]", "a,b\n1,2\n", "no known format"),
    "0 requests": (f"workload: [{_FILE}]", _COLUMNS, "0 requests"),
    "beyond the context window": (f"workload: [{_LONG}]", None, "context window"),
    "unknown key": ("wrkload: []", None, "did you mean `workload`"),
    "impossible fleet": (f"model: llama-3.1-70b\nworkload: [{_ANY}]", None, "tensor_parallel"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_per_fault_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    text, table, expected = BAD[case]
    head = "" if "model:" in text else "model: llama-3.1-8b\n"
    (tmp_path / "bad.yaml").write_text(f"{head}fleet: {{gpu: h100, gpus: 1}}\n{text}\n")
    if table is not None:
        (tmp_path / "t.csv").write_text(table)
    before = set(tmp_path.iterdir())
    result = call("run", tmp_path / "bad.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.splitlines()
    assert lines
    assert all(line.startswith("error: ") for line in lines)
    assert expected in result.stderr
    assert set(tmp_path.iterdir()) == before


def test_a_truncated_gz_is_named(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"arrival_s,prompt_tokens,output_tokens\n" + b"0,5,1\n" * 5000)[:-20])
    (tmp_path / "bad.yaml").write_text(
        "model: llama-3.1-8b\nfleet: {gpu: h200, gpus: 1}\nworkload: [{name: c, trace: {file: t.csv.gz}}]\n"
    )
    result = call("run", tmp_path / "bad.yaml")
    assert result.exit_code == 2
    assert "truncated" in result.stderr


def test_ctrl_c_leaves_nothing_behind(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sim.kernel

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sim.kernel.Kernel, "play", interrupted)
    result = call("run", scenario, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr == "interrupted: nothing was written\n"
    assert set(tmp_path.iterdir()) == {scenario}


@pytest.mark.parametrize("verb", [[], ["run"], ["report"], ["policies", "list"], ["traces", "get"], ["config", "validate"]])
def test_help_fits_one_screen_and_imports_nothing_heavy(verb: list[str]) -> None:
    result = call(*verb, "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 30
    code = "import sys, twinserve; print(*[m for m in ('numpy', 'pydantic', 'rich', 'pandas', 'simpy') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == ""


def test_a_misspelt_verb_is_told_which_one_was_meant() -> None:
    result = call("plann")
    assert result.exit_code == 2
    assert "did you mean `plan`?" in result.stderr


@pytest.mark.parametrize("group", [[], ["fingerprint"], ["traces"], ["policies"], ["config"]], ids=" ".join)
def test_no_verbs_line_of_help_is_cut_off(group: list[str]) -> None:
    assert "..." not in call(*group, "--help").stdout.partition("Commands:")[2]


def test_traces_verbs(tmp_path: Path) -> None:
    listed = call("traces", "list", "--json")
    assert "azure-2023-conv" in {b["name"] for b in json.loads(listed.stdout)["builtin"]}
    drawn = call("traces", "synth", "sharegpt", tmp_path / "s.parquet", "--rate", "2/s", "--requests", 50)
    assert drawn.exit_code == 0, drawn.stderr
    converted = call("traces", "convert", tmp_path / "s.parquet", tmp_path / "s.jsonl", "--to", "mooncake")
    assert converted.exit_code == 0, converted.stderr
    inspected = call("traces", "inspect", tmp_path / "s.jsonl", "--plot", tmp_path / "s.png", "--option", "jitter=off")
    assert inspected.exit_code == 0, inspected.stderr
    assert (tmp_path / "s.png").stat().st_size > 10_000
    facts = json.loads(call("traces", "inspect", tmp_path / "s.jsonl", "--json").stdout)
    assert facts["requests"] == 50
    refused = call("traces", "inspect", "sharegpt", "--option", "sort=on")
    assert refused.exit_code == 2


def test_policies_verbs() -> None:
    cards = json.loads(call("policies", "list", "--json").stdout)
    assert {"router", "scaler", "batcher"} <= {card["point"] for card in cards}
    shown = call("policies", "show", "router", "power-of-two")
    assert "choices" in shown.stdout
    assert call("policies", "show", "router", "power-of-tow").exit_code == 2
    assert call("policies", "show", "power-of-two").stdout == shown.stdout, "only routers have one of that name"
    refused = call("policies", "show", "polyserve")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: policies show: polyserve is router, scaler, batcher; say which, as in `policies show router polyserve`\n",
    )
    assert "there is no policy 'router'" in call("policies", "show", "router").stderr


def test_config_verbs(scenario: Path) -> None:
    resolved = json.loads(call("config", "validate", scenario, "--set", "fleet.gpus=4", "--json").stdout)
    assert resolved["fleet"]["gpus"] == 4
    assert json.loads(call("config", "schema").stdout)["properties"]["fleet"]


def test_the_azure_trace_on_eight_h200_engines(shared_data: Path, tmp_path: Path) -> None:
    """The main job on real input: every request of the conversation trace, with latencies that an H200 can have."""
    trace = shared_data / "traces" / "azure2023" / "AzureLLMInferenceTrace_conv.first40min.csv.gz"
    path = tmp_path / "azure.yaml"
    path.write_text(
        f"""
model: llama-3.1-8b
fleet: {{gpu: h200, gpus: 8}}
workload: [{{name: conv, trace: {{file: "{trace}", format: azure}}, slo: {{ttft: 500ms, tpot: 30ms}}}}]
"""
    )
    metrics = json.loads(call("run", path, "--json").stdout)["metrics"]
    facts = json.loads((shared_data / "facts.json").read_text())["azure2023_conv"]
    assert metrics["requests.completed"] == metrics["requests.offered"] == facts["rows"]
    assert metrics["attainment"] > 0.99
    # one decode step reads 16 GB of weights at 4.8 TB/s, 3.3 ms, and more than one sequence is rarely running
    assert 0.0033 < metrics["tpot_s.p50"] < 0.010
    # the median prompt of 1,015 tokens is 16 TFLOP: 16 ms at the card's peak
    assert 0.015 < metrics["ttft_s.p50"] < 0.05
    assert metrics["throughput_tok_s"] == pytest.approx(facts["mean_rate_rps"] * facts["output_tokens"]["mean"], rel=0.05)
