"""The true step time: equal to the fingerprint's terms, exact between its two forms, monotone, affine in the context."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies.latency import FingerprintLatency, StepShape
from sim.steptime import StepTime
from traces.fingerprints import load_fingerprint, named_fingerprint

H200 = load_fingerprint("llama-3.1-8b", "h200", 1)
TRUTH = StepTime(H200, max_batched_tokens=8192, max_seqs=256)
BELIEF = FingerprintLatency(H200)

prefill = st.integers(0, 4096)
decode = st.integers(0, 256)
context = st.integers(0, 8192)


def shape(prefill_tokens: int, earlier: int, decode_seqs: int, each: int, verify: int) -> StepShape:
    attention = prefill_tokens * (earlier + prefill_tokens / 2)
    return StepShape(
        prefill_tokens, attention, int(prefill_tokens > 0), decode_seqs, decode_seqs * each, min(verify, 4 * decode_seqs)
    )


shapes = st.builds(shape, prefill, context, decode, context, st.integers(0, 512))


def test_linear_constants_give_times_worked_out_by_hand() -> None:
    truth = StepTime.linear(
        overhead_s=4e-3,
        per_token_s=1e-5,
        per_decode_context_s=2e-8,
        per_prefill_attention_s=1e-9,
        max_batched_tokens=2048,
        max_seqs=64,
    )
    assert truth.seconds(0, 0.0, 0, 10, 5000) == pytest.approx(4e-3 + 10e-5 + 1e-4)
    assert truth.seconds(1000, 500_000.0, 1, 10, 5000) == pytest.approx(4e-3 + 1010e-5 + 1e-4 + 5e-4)
    assert truth.seconds(0, 0.0, 0, 10, 5000, verify_tokens=30) == pytest.approx(4e-3 + 40e-5 + 1e-4)
    assert truth.seconds(0, 0.0, 0, 0, 0) == 0.0
    assert truth.decode_fixed[:2] == pytest.approx([0.0, 4.01e-3])


@given(decode, context)
def test_a_decode_only_step_takes_exactly_what_its_two_lists_say(seqs: int, each: int) -> None:
    total = seqs * each
    assert TRUTH.seconds(0, 0.0, 0, seqs, total) == TRUTH.decode_fixed[seqs] + TRUTH.decode_per_context[seqs] * total


def test_the_lists_hold_plain_floats_for_every_number_of_requests() -> None:
    assert len(TRUTH.decode_fixed) == len(TRUTH.decode_per_context) == 257
    assert {type(v) for v in TRUTH.decode_fixed + TRUTH.decode_per_context} == {float}


@given(shapes)
def test_truth_and_undisturbed_belief_agree(step: StepShape) -> None:
    assert TRUTH.seconds(*step) == pytest.approx(BELIEF.seconds(step), rel=1e-12)


def test_truth_and_belief_in_bulk_agree() -> None:
    rng = np.random.default_rng(3)
    steps = [shape(*map(int, rng.integers(0, [4096, 8192, 256, 8192, 512]))) for _ in range(500)]
    bulk = BELIEF.seconds_many(*(np.array(column, float) for column in zip(*steps, strict=True)))
    np.testing.assert_allclose(bulk, [TRUTH.seconds(*s) for s in steps], rtol=1e-12)


@given(shapes, st.sampled_from(StepShape._fields), st.integers(1, 64))
def test_more_of_anything_never_takes_less_time(step: StepShape, field: str, more: int) -> None:
    larger = step._replace(**{field: getattr(step, field) + more})
    if larger.decode_seqs <= 256:
        assert TRUTH.seconds(*larger) >= TRUTH.seconds(*step) * (1 - 1e-12)


@given(st.integers(1, 256), context, st.integers(1, 1000))
def test_k_decode_steps_of_a_steady_batch_have_a_closed_form(seqs: int, each: int, steps: int) -> None:
    one_by_one = sum(TRUTH.seconds(0, 0.0, 0, seqs, seqs * (each + i)) for i in range(steps))
    fixed, slope = TRUTH.decode_fixed[seqs], TRUTH.decode_per_context[seqs]
    closed = steps * fixed + slope * seqs * (steps * each + steps * (steps - 1) / 2)
    assert closed == pytest.approx(one_by_one, rel=1e-9)


def test_more_than_the_engines_limits_is_an_error_not_a_guess() -> None:
    with pytest.raises(IndexError):
        TRUTH.seconds(0, 0.0, 0, 257, 1000)
    with pytest.raises(IndexError):
        TRUTH.seconds(8192, 1.0, 1, 1, 10)


SOME = (
    "llama-3.1-8b/h200/tp2/bf16",
    "llama-3.1-70b/h100/tp4/fp8+kv-fp8",
    "llama-3.1-70b/a100/tp4pp2/bf16",
    "qwen3-235b-a22b/h200/tp8ep/fp8_block",
    "gpt-oss-120b/b200/tp2/mxfp4",
    "deepseek-v3/h200/tp8/fp8_block",
    "llama-2-13b/a100/tp1/bf16",
    "llama-3.1-8b/a6000/tp1/int4",
)


@pytest.mark.parametrize("name", SOME)
@settings(max_examples=25, deadline=None)
@given(step=shapes)
def test_every_kind_of_fingerprint_is_tabulated_faithfully(name: str, step: StepShape) -> None:
    fingerprint = named_fingerprint(name)
    truth = StepTime(fingerprint, max_batched_tokens=8192, max_seqs=256)
    # One batch of so many: policies are told of the decodes of all batches in flight.
    batches = fingerprint.terms.stages
    all_of_them = step._replace(
        decode_seqs=batches * step.decode_seqs,
        decode_context=batches * step.decode_context,
        verify_tokens=batches * step.verify_tokens,
    )
    assert truth.seconds(*step) == pytest.approx(FingerprintLatency(fingerprint).seconds(all_of_them), rel=1e-12)
    rows = step.prefill_seqs + step.decode_seqs
    assert truth.sampled(rows) == pytest.approx(fingerprint.terms.sampled.at(rows), rel=1e-12)


@pytest.mark.parametrize("name", SOME)
@settings(max_examples=25, deadline=None)
@given(step=shapes, field=st.sampled_from(StepShape._fields), more=st.integers(1, 64))
def test_every_kind_of_fingerprint_is_monotone_within_its_memory(name: str, step: StepShape, field: str, more: int) -> None:
    latency = FingerprintLatency(named_fingerprint(name))
    assume(step.decode_context <= latency.fingerprint.terms.decode.crossing())
    larger = step._replace(**{field: getattr(step, field) + more})
    assert latency.seconds(larger) >= latency.seconds(step) * (1 - 1e-12)
