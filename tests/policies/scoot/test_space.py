"""Spaces of knobs: encoding, rules, repair."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.scoot.space import Levels, LogIntegers, LogLevels, Space, halved_octaves, powers_of_two
from policies.scoot.spaces import TILE, paper, vllm

SPACES = [
    vllm(gpus=4, max_model_len=8192, also=["num_speculative_tokens"]),
    vllm(gpus=1, max_model_len=131072),
    vllm(gpus=2, max_model_len=5000, present={"max_num_batched_tokens": 1000, "max_num_seqs": 64}),
    vllm(gpus=1, max_model_len=40000, most_batched_tokens=8192),
    paper(gpus=2, max_model_len=3000),
]


@given(st.sampled_from(SPACES), st.data())
def test_a_configuration_survives_the_way_into_the_cube_and_back(space: Space, data: st.DataObject) -> None:
    point = np.array([data.draw(st.floats(0, 1)) for _ in space.knobs])
    config = space.config(point)
    assert space.config(space.unit(config)) == config
    snapped = np.array([knob.snap(np.array([u]))[0] for knob, u in zip(space.knobs, point, strict=True)])
    assert space.unit(config) == pytest.approx(snapped)


@given(st.sampled_from(SPACES), st.data())
def test_what_was_repaired_keeps_all_rules(space: Space, data: st.DataObject) -> None:
    config = space.config(np.array([data.draw(st.floats(0, 1)) for _ in space.knobs]))
    repaired = space.repaired(config, data.draw(st.floats(0, 1, exclude_max=True)))
    assert space.broken(repaired) == []
    if not space.broken(config):
        assert repaired == config


def test_the_default_configuration_is_lawful_and_a_space_says_when_it_is_not() -> None:
    for space in SPACES:
        assert space.broken(space.default) == []
    space = SPACES[0]
    with pytest.raises(ValueError, match="must not exceed max_num_batched_tokens"):
        Space(space.knobs, space.rules, {**space.default, "max_num_seqs": 1024, "max_num_batched_tokens": 512})


def test_powers_of_two_run_from_low_to_high() -> None:
    assert powers_of_two("x", 16, 128) == Levels("x", (16, 32, 64, 128))
    assert powers_of_two("x", 4, 4).values == (4,)


def test_log_integers_reach_both_ends_and_halve_in_the_middle() -> None:
    knob = LogIntegers("x", 64, 16384)
    assert [knob.value(u) for u in (0.0, 0.5, 1.0)] == [64, 1024, 16384]


def test_levels_lie_where_their_logarithms_do_and_a_number_between_two_belongs_to_the_nearer_by_ratio() -> None:
    knob = LogLevels("x", (256, 1024, 4096))
    assert knob.places == pytest.approx([0, 0.5, 1])
    assert [knob.value(u) for u in (0.0, 0.24, 0.26, 1.0)] == [256, 256, 1024, 4096]
    assert (knob.nearest(511), knob.nearest(513), knob.nearest(9999)) == (256, 1024, 4096)
    assert LogLevels("x", (512,)).snap(np.array([0.3])).tolist() == [0.0]


def test_an_octave_is_halved_where_the_half_is_a_multiple() -> None:
    assert halved_octaves("x", 256, 4096, multiple=256).values == (256, 512, 768, 1024, 1536, 2048, 3072, 4096)
    assert halved_octaves("x", 4, 13, multiple=4).values == (4, 8, 12)


@pytest.mark.parametrize("longest", [3000, 4096, 40000])
def test_steps_are_multiples_of_a_tile_from_vllms_own_range_and_what_runs_today_is_one_more(longest: int) -> None:
    space = vllm(gpus=1, max_model_len=longest, present={"max_num_batched_tokens": 2000, "max_num_seqs": 128})
    (steps,) = (knob.values for knob in space.knobs if isinstance(knob, LogLevels))
    assert [value for value in steps if value % TILE] == [2000]
    assert {512, 1024, 2048, 4096, 8192, 16384} <= set(steps)  # vLLM's defaults and its auto_tune's list
    assert max(b / a for a, b in pairwise(steps)) <= 2


def test_a_prompt_that_no_step_holds_is_repaired_by_chunks() -> None:
    space = vllm(gpus=1, max_model_len=40000, most_batched_tokens=8192)
    whole = {**space.default, "enable_chunked_prefill": False}
    assert all(space.repaired(whole, draw)["enable_chunked_prefill"] for draw in (0.1, 0.9))
    space = vllm(gpus=1, max_model_len=5000)
    whole = {**space.default, "enable_chunked_prefill": False, "max_num_batched_tokens": 512}
    assert space.repaired(whole, 0.9)["max_num_batched_tokens"] == 6144  # the first step that holds 5000 tokens


def test_the_papers_rule_turns_off_chunked_prefill_or_prefix_caching_or_both() -> None:
    space = paper(gpus=1, max_model_len=4096)
    both = {**space.default, "enable_chunked_prefill": True, "enable_prefix_caching": True}
    off = [space.repaired(both, draw) for draw in (0.1, 0.5, 0.9)]
    assert [(c["enable_chunked_prefill"], c["enable_prefix_caching"]) for c in off] == [
        (False, True),
        (True, False),
        (False, False),
    ]
