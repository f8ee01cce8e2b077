"""Calibration of the extrapolation's constants, on made and on measured runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.extrapolation import batches, folds, paper
from benchmarks.extrapolation.measurements import SCORED_OUTPUT, Measured, read
from policies.extrapolation import MAVERIQ_MODELS, RTX_A6000, RTX_A6000_MEMORY, TENSORRT_LLM, Runs
from traces.errors import InputError
from traces.extrapolation import Samples, calibrate, calibrate_memory, extrapolate, least_absolute


def made(model: str, layers: list[int], outputs: tuple[int, ...] = (10, 20)) -> Samples:
    """Runs of a model, with the times and memory that the A6000's constants give."""
    architecture = MAVERIQ_MODELS[model]
    grid = [(n, t, k, o) for n in layers for t in (1, 2) for k in ("fp16", "int8", "int4") for o in outputs]
    n, tp, precision, output = zip(*grid, strict=True)
    runs = Runs.of(architecture, layers=n, tp=tp, precision=precision, prompt=923, output=output)
    seconds = RTX_A6000.latency(architecture, runs).total_s
    return Samples(model, architecture, runs, seconds, RTX_A6000_MEMORY.total_bytes(architecture, runs))


def test_small_layers_of_models_that_obey_the_equations_predict_the_whole_model() -> None:
    prints = [made(model, [1, 2]) for model in ("llama-2-7b", "gptj-6b", "llama-2-70b")]
    whole = made("llama-2-70b", [80], (100,))
    predicted = calibrate(prints).latency(whole.architecture, whole.runs).total_s
    assert predicted == pytest.approx(whole.seconds, rel=0.02)


def test_one_bad_measurement_does_not_bend_the_others() -> None:
    samples = made("llama-2-70b", [1, 2, 80])
    bent = samples.seconds.copy()
    bent[-1] *= 3
    hardware = calibrate([replace(samples, seconds=bent)])
    predicted = hardware.latency(samples.architecture, samples.runs).total_s
    assert predicted[:-1] == pytest.approx(samples.seconds[:-1], rel=0.02)


def test_constants_are_never_negative() -> None:
    rng = np.random.default_rng(5)
    matrix = rng.uniform(size=(50, 4))
    assert (least_absolute(matrix, matrix @ np.array([1.0, -0.5, 2.0, 0.0]) + 3.0) >= 0).all()


def test_memory_constants_come_back() -> None:
    samples = [made(model, [1, 2, 28]) for model in MAVERIQ_MODELS]
    found = calibrate_memory(samples)
    assert found.weights == pytest.approx(RTX_A6000_MEMORY.weights, rel=0.01)
    assert found.rank == pytest.approx(RTX_A6000_MEMORY.rank, rel=0.05)


@pytest.mark.parametrize(
    ("row", "value", "says"),
    [
        (3, np.nan, "TP 1, PP 1, int8, 20 output tokens: the latency is nan"),
        (0, -0.1, "TP 1, PP 1, fp16, 10 output tokens: the latency is -0.1"),
        (5, 30.0, "TP 1, PP 1, int4, 20 output tokens: 30 s is"),
    ],
)
def test_a_bad_row_is_named(row: int, value: float, says: str) -> None:
    samples = made("llama-2-7b", [1, 2])
    seconds = samples.seconds.copy()
    seconds[row] = value
    with pytest.raises(InputError) as caught:
        calibrate([replace(samples, seconds=seconds)])
    assert len(caught.value.faults) == 1
    assert f"llama-2-7b with 1 layers, {says}" in caught.value.faults[0]


def test_a_folder_without_the_files_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"maveriq_fingerprints.json: No such file"):
        read(tmp_path)


# --- on the published measurements --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(shared_data: Path) -> dict[str, Measured]:
    return read(shared_data / "papers")


def errors(models: dict[str, Measured], predicted: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([folds.scored_error(models[name].whole, values) for name, values in predicted.items()])


def test_the_papers_equations_give_the_papers_error_on_all_412_configurations(models: dict[str, Measured]) -> None:
    error = errors(models, {name: paper.predict(m) for name, m in models.items()})
    assert len(error) == 412
    assert np.median(error) == pytest.approx(4.39, abs=0.005)


def test_the_papers_memory_equation_gives_its_error(models: dict[str, Measured]) -> None:
    error = [
        np.abs(paper.predict_memory(m) / m.whole.memory_bytes - 1)[m.whole.runs.output == SCORED_OUTPUT] * 100
        for m in models.values()
    ]
    assert np.median(np.concatenate(error)) == pytest.approx(4.20, abs=0.005)


def test_models_left_out_are_predicted_within_the_aims(models: dict[str, Measured]) -> None:
    error = errors(models, folds.left_out(models))
    assert len(error) == 412
    assert np.median(error) <= 4.0
    assert error.mean() <= 9.0
    assert error.max() < 15.0


def test_a_fold_does_not_depend_on_the_whole_model_that_it_predicts(models: dict[str, Measured]) -> None:
    pair = {name: models[name] for name in ("gptj-6b", "llama-2-13b")}
    spoilt = {
        **pair,
        "gptj-6b": replace(pair["gptj-6b"], whole=replace(pair["gptj-6b"].whole, seconds=pair["gptj-6b"].whole.seconds * 2)),
    }
    before, after = (folds.left_out(m)["gptj-6b"] for m in (pair, spoilt))
    assert np.array_equal(before, after)


def test_the_committed_constants_are_what_the_measurements_give(models: dict[str, Measured]) -> None:
    found = calibrate([s for m in models.values() for s in (folds.latency_prints(m), m.whole)])
    for field in ("read", "compute", "peer", "ring"):
        assert getattr(found, field) == pytest.approx(dict(getattr(RTX_A6000, field)), rel=1e-3)
    for field in ("layer", "step", "prompt", "host", "all_reduce", "gather"):
        assert getattr(found, field) == pytest.approx(getattr(RTX_A6000, field), rel=1e-3)
    memory = calibrate_memory([s for m in models.values() for s in (folds.memory_prints(m), m.whole)])
    for name in ("weights", "kv", "context", "rank", "stage"):
        assert getattr(memory, name) == pytest.approx(getattr(RTX_A6000_MEMORY, name), rel=1e-3)
    assert RTX_A6000.rule is TENSORRT_LLM


def test_batches_that_were_never_fitted_are_predicted(models: dict[str, Measured]) -> None:
    predicted = batches.predict(models)
    error = np.concatenate([np.abs(values / np.array(steps.measured_ms) - 1) for steps, values in predicted.items()])
    assert np.median(error) < 0.05


def noisy(model: str, layers: list[int], spread: float, seed: int) -> Samples:
    samples = made(model, layers)
    factor = np.exp(np.random.default_rng(seed).normal(0, spread, len(samples.seconds)))
    return replace(samples, seconds=samples.seconds * factor)


def test_an_extrapolation_is_as_wide_as_left_out_models_are_off() -> None:
    models = ("llama-2-7b", "llama-2-13b", "llama-2-70b", "gptj-6b")
    samples = [noisy(model, [1, 2, MAVERIQ_MODELS[model].layers], 0.05, i) for i, model in enumerate(models)]
    found = extrapolate(samples)
    llama = MAVERIQ_MODELS["llama-2-70b"]
    runs = Runs.of(llama, tp=[1, 2], precision="int8", prompt=923, output=20)
    mean, lo, hi = found.latency_s(llama, runs)
    assert mean == pytest.approx(found.hardware.latency(llama, runs).total_s)
    assert (hi / lo > np.exp(2 * 1.2 * 0.05)).all()
    assert (hi / lo < np.exp(2 * 2.6 * 0.05)).all()
    exact = found.memory_bytes(llama, runs)
    assert exact.hi == pytest.approx(exact.lo, rel=0.01)


def test_one_model_alone_has_no_interval() -> None:
    with pytest.raises(InputError, match="0 residuals tell no interval; give 20 or more, from whole runs of two models or more"):
        extrapolate([made("llama-2-70b", [1, 2, 80])])
    with pytest.raises(InputError, match="0 residuals"):
        extrapolate([made(model, [1, 2]) for model in ("llama-2-70b", "gptj-6b")])
