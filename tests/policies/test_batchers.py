"""The baseline batchers: step budgets worked out by hand."""

from __future__ import annotations

import math

import pytest

from policies.batchers import VLLM, Sarathi
from policies.views import Engine


def test_vllm_fills_the_engines_own_token_budget():
    assert VLLM().plan(Engine(max_batched_tokens=8192)).token_budget == 8192
    assert VLLM().plan(Engine(max_batched_tokens=2048)).token_budget == 2048


def test_sarathi_limits_the_step_to_its_chunk():
    assert Sarathi(chunk_tokens=512).plan(Engine(max_batched_tokens=8192, running_count=100)).token_budget == 512


def test_sarathi_never_leaves_a_decode_out():
    assert Sarathi(chunk_tokens=64).plan(Engine(running_count=100)).token_budget == 100


def test_sarathi_never_exceeds_what_the_engine_takes():
    assert Sarathi(chunk_tokens=4096).plan(Engine(max_batched_tokens=2048)).token_budget == 2048
    assert Sarathi(chunk_tokens=64).plan(Engine(max_batched_tokens=80, running_count=100)).token_budget == 80


@pytest.mark.parametrize("batcher", [VLLM(), Sarathi()])
def test_the_plan_stands_until_the_engine_changes_and_leaves_order_to_the_engine(batcher):
    plan = batcher.plan(Engine())
    assert plan.valid_steps == math.inf
    assert (plan.order, plan.caps, plan.preempt) == (None, None, ())
    assert plan.reason


def test_a_chunk_without_tokens_is_refused():
    with pytest.raises(ValueError, match="chunk_tokens is 0; a step needs at least 1 token"):
        Sarathi(chunk_tokens=0)
