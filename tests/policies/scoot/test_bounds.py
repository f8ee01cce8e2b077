"""An operator's bounds, and the configuration that runs today."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from policies.scoot.bounds import bounded, with_level
from policies.scoot.sampler import ScootSampler, ask
from policies.scoot.space import Levels, LogIntegers, LogLevels
from policies.scoot.spaces import vllm

SPACE = vllm(gpus=4, max_model_len=4096, present={"max_num_seqs": 256, "max_num_batched_tokens": 2048})


def test_a_configuration_of_today_becomes_a_level_in_its_place() -> None:
    assert with_level(Levels("x", (16, 32, 64)), 48).values == (16, 32, 48, 64)
    assert with_level(Levels("x", (512, 1024, 0)), 700).values == (512, 700, 1024, 0)
    assert with_level(LogIntegers("x", 256, 4096), 8192).high == 8192
    assert with_level(LogLevels("x", (256, 512)), 300).values == (256, 300, 512)


def test_a_range_keeps_the_levels_within_it_and_a_list_may_name_other_numbers() -> None:
    def steps(low_high: dict[str, tuple[float, float]], allowed: dict[str, list[int]]) -> object:
        return next(knob for knob in bounded(SPACE, low_high, allowed).knobs if knob.name == "max_num_batched_tokens")

    assert steps({"max_num_batched_tokens": (600, 3000)}, {}) == LogLevels("max_num_batched_tokens", (768, 1024, 1536, 2048))
    assert steps({}, {"max_num_batched_tokens": [2048, 1000]}) == LogLevels("max_num_batched_tokens", (1000, 2048))


def test_no_suggestion_leaves_the_bounds_though_repairs_would() -> None:
    space = bounded(SPACE, {"max_num_batched_tokens": (600, 3000)}, {"max_num_seqs": [256, 1024], "tensor_parallel": [1, 2]})
    study = optuna.create_study(sampler=ScootSampler(space, seed=1))
    for number in range(14):
        trial = study.ask()
        config = ask(trial, space)
        assert space.allows(config), config
        assert 600 <= config["max_num_batched_tokens"] <= 3000
        assert config["tensor_parallel"] in (1, 2)
        study.tell(trial, float(np.log(config["max_num_batched_tokens"])) + 0.01 * number)


@pytest.mark.parametrize(
    ("ranges", "allowed", "said"),
    [
        ({"max_num_seq": (1, 2)}, {}, "there is no such knob"),
        ({"max_num_seqs": (9, 10)}, {}, "nothing between 9 and 10"),
        ({}, {"block_size": [8]}, "cannot be 8"),
        ({"max_num_batched_tokens": (4096, 8192)}, {}, "the configuration to start from has 2048"),
        ({"max_num_batched_tokens": (20, 30)}, {}, "nothing between 20 and 30"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(ranges: dict, allowed: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bounded(SPACE, ranges, allowed)


def test_optional_knobs_are_tuned_only_when_asked_for() -> None:
    assert "kv_cache_dtype" not in SPACE.default
    assert vllm(gpus=1, max_model_len=4096, also=["kv_cache_dtype"]).default["kv_cache_dtype"] == "auto"
    with pytest.raises(ValueError, match="no optional knob"):
        vllm(gpus=1, max_model_len=4096, also=["colour"])
