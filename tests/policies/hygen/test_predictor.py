"""HyGen's latency predictor."""

from __future__ import annotations

import numpy as np
import pytest

from policies.hygen.predictor import Drift, Predictor
from policies.latency import FingerprintLatency, StepShape
from traces.fingerprints import load_fingerprint


def batches(count: int, seed: int) -> list[StepShape]:
    """Batches as chunked prefill makes them: up to 512 prompt tokens in one or two chunks beside up to 128 decodes."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        chunk = int(rng.choice([0, 0, rng.integers(16, 513)]))
        context = int(rng.integers(0, 2000))
        decodes = int(rng.integers(1 if not chunk else 0, 129))
        read = int(decodes * rng.integers(200, 1500))
        shapes.append(StepShape(chunk, chunk * (context + chunk / 2), int(chunk > 0), decodes, read))
    return shapes


def test_the_weights_of_a_linear_truth_are_found() -> None:
    truth = Predictor((2e-3, 3e-5, 4e-8, 1e-9, 0.0, 5e-5, 6e-6))
    steps = batches(400, seed=0)
    found = Predictor.fit(steps, truth.seconds_many(steps), squared_context=False)
    assert found.weights == pytest.approx(truth.weights, rel=1e-5, abs=1e-15)
    step = steps[5]
    assert found.seconds(step.prefill_tokens, step.decode_context, step.prefill_seqs, step.decode_seqs) == pytest.approx(
        found.seconds_many([step])[0]
    )


def test_on_steps_of_an_h200_with_noise_it_is_right_within_two_percent() -> None:
    latency = FingerprintLatency(load_fingerprint("llama-3.1-8b", "h200", 1, "bf16"))
    rng = np.random.default_rng(1)

    def measured(steps: list[StepShape]) -> np.ndarray:
        return np.array([latency.seconds(step) for step in steps]) * rng.normal(1, 0.01, len(steps))

    train, held_out = batches(4000, seed=2), batches(2000, seed=3)
    predictor = Predictor.fit(train, measured(train))
    assert predictor.error(held_out, measured(held_out)) <= 0.02


@pytest.mark.parametrize("curvature", [0.0, 2e-9, -2e-10])
def test_a_chunk_within_a_budget_is_the_largest_that_fits(curvature: float) -> None:
    predictor = Predictor((1e-3, 2e-5, 0.0, curvature, 0.0, 1e-4, 0.0))
    before = predictor.seconds(300, 0, 1, 4)
    chunk = predictor.chunk_within(5e-3, 300)
    assert predictor.seconds(300 + chunk, 0, 2, 4) - before <= 5e-3 + 1e-12
    assert predictor.seconds(300 + chunk + 1, 0, 2, 4) - before > 5e-3
    assert predictor.chunk_within(5e-5, 300) == 0


def test_too_few_or_senseless_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        Predictor.fit(batches(31, 0), [1e-3] * 31)
    with pytest.raises(ValueError, match="positive"):
        Predictor.fit(batches(40, 0), [1e-3] * 39 + [float("nan")])


def test_drift_is_told_soon_after_it_begins_and_not_before() -> None:
    rng = np.random.default_rng(4)
    drift = Drift(0.02)
    assert not any(drift.observe(1.0, 1 + 0.02 * error) for error in rng.standard_normal(5_000))
    steps = next(n for n in range(1000) if drift.observe(1.0, 1.03 + 0.02 * rng.standard_normal()))
    assert steps < 60
