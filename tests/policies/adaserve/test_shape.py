"""Depth and width by load, and the budget from step times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.adaserve.artifact import SETTINGS, TokenLatency
from policies.adaserve.shape import Beam, Limits, knee
from policies.curve import Curve
from policies.latency import StepShape

LLAMA = SETTINGS["llama-3.1-70b"]


def roofline(floor_s: float, token_s: float) -> TokenLatency:
    ridge = floor_s / token_s
    return TokenLatency(Curve((ridge, 2 * ridge), (floor_s, 2 * floor_s)))


def test_drafts_are_deep_and_wide_at_low_load_and_shrink_with_it():
    shapes = [LLAMA.limits.beam(requests, LLAMA.budget) for requests in (1, 40, 60, 100)]
    assert shapes == [Beam(8, 3), Beam(8, 2), Beam(7, 1), Beam(4, 1)]


def test_the_code_rounds_up_and_has_no_least_depth():
    code = Limits(formula="code")
    assert code.beam(100, 512) == Beam(6, 1)
    assert code.beam(512, 512) == Beam(1, 1)
    assert Limits().beam(512, 512) == Beam(4, 1)


def test_the_constants_of_the_paper_move_depth_and_width():
    assert Limits(c1=20, c2=1).beam(64, 512) == Beam(5, 2)


@given(requests=st.integers(0, 2000), budget=st.integers(0, 4096), formula=st.sampled_from(["paper", "code"]))
def test_more_load_never_makes_drafts_deeper_or_wider(requests, budget, formula):
    limits = Limits(formula=formula)
    less, more = limits.beam(requests, budget), limits.beam(requests + 1, budget)
    assert more.depth <= less.depth <= limits.depth_max
    assert 1 <= more.width <= less.width <= limits.width_max


def test_the_knee_of_a_roofline_is_its_ridge():
    assert knee(roofline(0.010, 0.0001), 1000) == 100
    assert knee(roofline(0.010, 0.0001), 64) == 64


def test_the_knee_of_a_floor_and_a_line_is_where_a_step_takes_twice_the_floor():
    line = TokenLatency(Curve((1.0, 1001.0), (0.0101, 0.1101)))
    assert knee(line, 1000) == 100


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="depth_min is 9"):
        Limits(depth_min=9)


def test_the_artifacts_step_times_are_its_table_and_never_less_than_an_unloaded_step():
    for setting in SETTINGS.values():
        assert setting.verify.seconds(StepShape(decode_seqs=1)) == setting.tpot_s
    times = [LLAMA.verify.seconds(StepShape(decode_seqs=64, verify_tokens=tokens - 64)) for tokens in (128, 320, 512, 1152)]
    assert times == pytest.approx([0.055, 0.095, 0.125, 0.225])
