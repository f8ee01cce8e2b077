"""The believed step time: adds up by hand, is the same one by one and in bulk, monotone, and affine in the context."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.adaserve.artifact import TokenLatency
from policies.curve import Curve, Lines
from policies.fingerprint import Fingerprint, Terms
from policies.latency import FingerprintLatency, LatencyModel, StepShape, beside, decoding, outside_calibration

TERMS = Terms(
    overhead=1.0,
    gemm=Curve((1.0, 101.0), (10.0, 20.0)),
    all_reduce=Curve((1.0, 51.0, 101.0), (1.0, 1.5, 4.0)),
    small_kernels=Curve.proportional(0.01),
    sampled=Curve.proportional(0.1),
    prefill_chunk=0.5,
    prefill_token=0.02,
    prefill_attention=0.001,
    decode=Lines((1.0, 8.0), (2.0, 9.0), (0.003, 0.003)),
)
LATENCY = FingerprintLatency(Fingerprint("m", "g", 2, "bf16", "none", "analytic", "by hand", TERMS, {}, 0.0))

shapes = st.builds(
    lambda prefill, per_chunk, chunks, decode, context, verify: StepShape(
        prefill, prefill * per_chunk, min(chunks, prefill), decode, decode * context, min(verify, decode * 4)
    ),
    st.integers(0, 300),
    st.floats(0, 1000),
    st.integers(1, 4),
    st.integers(0, 64),
    st.integers(0, 5000),
    st.integers(0, 100),
)


def test_a_mixed_step_is_the_sum_of_its_terms() -> None:
    step = StepShape(
        prefill_tokens=45, prefill_attention=1000.0, prefill_seqs=2, decode_seqs=4, decode_context=200, verify_tokens=2
    )
    tokens = 1.0 + (10 + 5.0) + (1 + 0.5) + 0.51  # 51 tokens
    assert LATENCY.seconds(step) == pytest.approx(tokens + 0.1 * 8 + (0.5 * 2 + 0.02 * 45 + 1.0) + (5.0 + 0.003 * 200))


def test_no_tokens_take_no_time() -> None:
    assert LATENCY.seconds(StepShape()) == 0.0


@given(st.integers(1, 64), st.integers(0, 100_000), st.sampled_from([LATENCY, TokenLatency(TERMS.gemm)]))
def test_decodes_alone_take_the_very_same_time_asked_for_apart(seqs: int, context: int, latency: LatencyModel) -> None:
    """To the last digit: a policy may ask either way, and decides alike."""
    assert decoding(latency, seqs, context) == latency.seconds(StepShape(decode_seqs=seqs, decode_context=context))


@given(shapes)
def test_asked_again_a_step_takes_the_very_same_time(step: StepShape) -> None:
    fresh = FingerprintLatency(LATENCY.fingerprint)
    assert LATENCY.seconds(step) == fresh.seconds(step) == fresh.seconds(step)


@given(st.lists(shapes, min_size=1, max_size=20))
def test_in_bulk_the_times_are_those_of_the_steps_one_by_one(steps: list[StepShape]) -> None:
    columns = [np.array(column, float) for column in zip(*steps, strict=True)]
    np.testing.assert_allclose(LATENCY.seconds_many(*columns), [LATENCY.seconds(s) for s in steps], rtol=1e-12)


@given(shapes, st.sampled_from(StepShape._fields), st.integers(1, 50))
def test_more_of_anything_never_takes_less_time(step: StepShape, field: str, more: int) -> None:
    assert LATENCY.seconds(step._replace(**{field: getattr(step, field) + more})) >= LATENCY.seconds(step) * (1 - 1e-12)


@given(st.integers(1, 64), st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_decode_step_is_affine_in_its_context(seqs: int, context: int, delta: int) -> None:
    times = [LATENCY.seconds(StepShape(decode_seqs=seqs, decode_context=context + i * delta)) for i in range(3)]
    assert times[2] - times[1] == pytest.approx(times[1] - times[0], rel=1e-9)


def test_with_two_stages_decodes_are_spread_and_a_chunk_is_not() -> None:
    fingerprint = Fingerprint("m", "g", 1, "bf16", "none", "analytic", "by hand", dataclasses.replace(TERMS, stages=2), {}, 0.0)
    staged = FingerprintLatency(fingerprint)
    assert staged.seconds(StepShape(decode_seqs=8, decode_context=400)) == LATENCY.seconds(
        StepShape(decode_seqs=4, decode_context=200)
    )
    assert staged.seconds(StepShape(51, 100.0, 1)) == LATENCY.seconds(StepShape(51, 100.0, 1))


@given(shapes, st.integers(1, 300), st.sampled_from([1, 2, 3]))
def test_prompts_beside_the_same_decodes_take_the_same_time_to_the_last_digit(step: StepShape, tokens: int, stages: int) -> None:
    terms = dataclasses.replace(TERMS, stages=stages)
    staged = FingerprintLatency(Fingerprint("m", "g", 1, "bf16", "none", "analytic", "by hand", terms, {}, 0.0))
    for latency in (staged, TokenLatency(TERMS.gemm)):
        prompts = beside(latency, step.decode_seqs, step.decode_context)
        for seqs in (1, 3, 1):
            whole = StepShape(tokens, step.prefill_attention, seqs, step.decode_seqs, step.decode_context)
            assert prompts(tokens, step.prefill_attention, seqs) == latency.seconds(whole)


def test_a_step_beyond_the_calibrated_range_names_feature_value_and_bound() -> None:
    calibrated = {"tokens": (1.0, 100.0), "decode_context_per_seq": (1.0, 50.0)}
    fingerprint = Fingerprint("m", "g", 2, "bf16", "none", "analytic", "by hand", TERMS, calibrated, 0.0)
    assert outside_calibration(fingerprint, StepShape(90, 1.0, 1, 10, 500)) == []
    found = outside_calibration(fingerprint, StepShape(91, 1.0, 1, 10, 501))
    assert found[0] == "tokens is 101, beyond the 100 that fingerprint m/g/tp2/bf16 is calibrated for"
    assert len(found) == 2
