"""Fingerprints assembled from operator tables: reproducible, close to the tables, and close to measured engines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from policies.fingerprint import Fingerprint, Terms
from policies.latency import FingerprintLatency, StepShape
from traces.assemble import Fit, assemble, fits, main, to_json
from traces.errors import InputError
from traces.fingerprints import available, file_name, load_fingerprint, read_fingerprint
from traces.hardware import gpu, model
from traces.operators import Operators, read_operators


@pytest.fixture(scope="module")
def tables(shared_data: Path) -> Path:
    return shared_data / "perf" / "aiconfigurator"


@pytest.fixture(scope="module")
def made(tables: Path) -> dict[str, Fit]:
    return {fit.fingerprint.name: fit for fit in fits(tables)}


def committed(name: str) -> Fingerprint:
    shape, chip, shards, precision = name.split("/")
    return load_fingerprint(shape, chip, int(shards.removeprefix("tp")), precision)


def test_the_library_covers_both_llamas_on_all_three_gpus_wherever_they_fit() -> None:
    names = available()
    assert len(names) == 21
    assert {f"llama-3.1-8b/{g}/tp{n}/bf16" for g in ("h200", "h100", "a100") for n in (1, 2, 4, 8)} < set(names)
    assert {f"llama-3.1-70b/{g}/tp{n}/bf16" for g in ("h200", "h100", "a100") for n in (2, 4, 8)} < set(names)


def test_fitting_the_tables_again_gives_the_committed_fingerprints(made: dict[str, Fit]) -> None:
    assert sorted(made) == available()
    for name, fit in made.items():
        old, new = committed(name), fit.fingerprint
        assert dataclasses.replace(new, terms=old.terms, residual=old.residual) == old, name
        assert new.residual == pytest.approx(old.residual, rel=1e-3)
        for field in dataclasses.fields(Terms):
            before, after = getattr(old.terms, field.name), getattr(new.terms, field.name)
            if isinstance(before, float):
                assert after == pytest.approx(before, rel=1e-4), (name, field.name)
            else:
                assert after.x == before.x, (name, field.name)
                np.testing.assert_allclose(after.y, before.y, rtol=1e-4)


def test_terms_stay_close_to_the_rows_that_they_were_fitted_to(made: dict[str, Fit]) -> None:
    for name, fit in made.items():
        medians = {term: np.median(np.abs(errors)) for term, errors in fit.errors.items()}
        assert medians["GEMM, smoothing in m"] < 0.02, name
        assert medians["GEMM, interpolation in n"] < 0.09, name
        assert medians["prefill attention in its layer"] < 0.015, name
        assert medians["decode attention in its layer"] < 0.05, name
        assert fit.fingerprint.residual < 0.08, name


@pytest.mark.parametrize("name", available())
def test_no_step_beats_the_memory_or_the_tensor_cores(name: str) -> None:
    fingerprint = committed(name)
    shape, chip, tp = model(fingerprint.model), gpu(fingerprint.gpu), fingerprint.tensor_parallel
    latency = FingerprintLatency(fingerprint)
    streaming = shape.weight_bytes(tp) - 2 * shape.vocab * shape.hidden // tp  # the input embedding is not read whole
    assert latency.seconds(StepShape(decode_seqs=1, decode_context=1)) > streaming / chip.hbm_bytes_s
    flops = 2 * 8192 * (shape.weight_bytes() / 2 - 2 * shape.vocab * shape.hidden) / tp
    assert latency.seconds(StepShape(8192, 8192**2 / 2, 1)) > flops / chip.bf16_flops
    kv = 256 * 1024 * shape.kv_bytes_per_token(tp)
    assert fingerprint.terms.decode_context * 256 * 1024 > kv / chip.hbm_bytes_s


def closed_loop_tpot(latency: FingerprintLatency, concurrency: int, prompt: float, output: float) -> float:
    """Mean time per output token when as many equal requests are always in flight: a decode step at half the output, plus the
    steps that the others' prompts share with it, once in each one's lifetime."""
    context = prompt + output / 2
    decode = latency.seconds(StepShape(decode_seqs=concurrency, decode_context=int(concurrency * context)))
    others = concurrency - 1
    chunk = min(prompt, 8192 - concurrency)
    mixed = latency.seconds(StepShape(int(chunk), chunk * prompt / 2, 1, others, int(others * context)))
    return decode + others * prompt / chunk * (mixed - decode) / output


def tpot_errors(operators: Operators, rows: pd.DataFrame, name: str, precision: str, length_share: float) -> np.ndarray:
    latencies = {
        tp: FingerprintLatency(assemble(operators, model(name), gpu(operators.gpu), int(tp), precision).fingerprint)
        for tp in rows.tp_size.unique()
    }
    predicted = [
        closed_loop_tpot(latencies[r.tp_size], int(r.batch_size), length_share * r.isl, length_share * r.osl)
        for r in rows.itertuples()
    ]
    return np.array(predicted) / (rows.silicon_tpot_ms.to_numpy() * 1e-3) - 1


def test_decode_times_agree_with_measured_engines_without_any_calibration(tables: Path, shared_data: Path) -> None:
    measured = pd.read_csv(shared_data / "perf" / "e2e" / "silicon_sample.dev.csv.gz")
    measured = measured[(measured["mode"] == "agg") & (measured.batch_size <= 16)]
    vllm = measured[(measured.backend == "vllm") & measured.model_path.str.contains("Llama-3.1-70B")]
    for chip in ("h100", "h200"):  # InferenceX draws lengths from 80 to 100 % of the nominal
        errors = tpot_errors(read_operators(tables, chip), vllm[vllm.system == f"{chip}_sxm"], "llama-3.1-70b", "fp8", 0.9)
        assert len(errors) >= 9
        assert np.median(np.abs(errors)) < 0.06, chip
        assert np.abs(errors).max() < 0.12, chip
    other = measured[(measured.backend == "trtllm") & measured.model_path.str.contains("Llama-3.1-8B") & (measured.tp_size <= 2)]
    errors = tpot_errors(read_operators(tables, "h100"), other, "llama-3.1-8b", "bf16", 1.0)
    assert len(errors) >= 20
    assert np.median(np.abs(errors)) < 0.06


def test_a_written_fingerprint_reads_back_equal_and_has_no_long_columns_of_numbers(tmp_path: Path) -> None:
    fingerprint = committed("llama-3.1-8b/h200/tp1/bf16")
    path = tmp_path / file_name(fingerprint.name)
    path.write_text(to_json(fingerprint), encoding="utf-8")
    assert read_fingerprint(path) == fingerprint
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


def test_an_unknown_deployment_lists_what_there_is() -> None:
    with pytest.raises(InputError, match=r"llama-3\.1-70b/h200/tp2/bf16"):
        load_fingerprint("llama-3.1-70b", "h200", 1)
    with pytest.raises(InputError, match=r"use one of llama-3\.1-8b/a100, llama-3\.1-8b/h100, llama-3\.1-8b/h200,"):
        load_fingerprint("llama-3.1-8b", "b200", 1)
    with pytest.raises(InputError, match=r"use one of llama-3\.1-70b, llama-3\.1-8b,"):
        load_fingerprint("gpt-2", "h200", 1)


def test_a_broken_fingerprint_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"model": "m"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.json: not a fingerprint \(fingerprint: missing"):
        read_fingerprint(path)
    with pytest.raises(InputError, match="No such file"):
        read_fingerprint(tmp_path / "none.json")


def test_a_folder_without_tables_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "gemm_perf.parquet; give the folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_table_with_an_impossible_latency_names_its_row(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "h200_sxm" / "gemm" / "vllm" / "1.0"
    folder.mkdir(parents=True)
    rows = pd.DataFrame({"gemm_dtype": "bfloat16", "m": [1, 2], "n": 64, "k": 64, "latency": [0.1, float("nan")]})
    rows.to_parquet(folder / "gemm_perf.parquet")
    with pytest.raises(InputError, match="row 1: latency is nan"):
        read_operators(tmp_path, "h200")
    rows.drop(columns="k").to_parquet(folder / "gemm_perf.parquet")
    with pytest.raises(InputError, match="column k is missing"):
        read_operators(tmp_path, "h200")
