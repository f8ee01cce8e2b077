"""Spaces of knobs: encoding, rules, repair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.scoot.space import Levels, LogIntegers, Space, powers_of_two
from policies.scoot.spaces import paper, vllm

SPACES = [
    vllm(gpus=4, max_model_len=8192, also=["num_speculative_tokens"]),
    vllm(gpus=1, max_model_len=131072),
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


def test_the_papers_rule_turns_off_chunked_prefill_or_prefix_caching_or_both() -> None:
    space = paper(gpus=1, max_model_len=4096)
    both = {**space.default, "enable_chunked_prefill": True, "enable_prefix_caching": True}
    off = [space.repaired(both, draw) for draw in (0.1, 0.5, 0.9)]
    assert [(c["enable_chunked_prefill"], c["enable_prefix_caching"]) for c in off] == [
        (False, True),
        (True, False),
        (False, False),
    ]
