"""Tuning that stays near what runs today."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna

from policies.scoot.canary import GUARDED, step_aside, within
from policies.scoot.sampler import ScootSampler, ask
from policies.scoot.spaces import vllm
from policies.streams import generator

SPACE = vllm(gpus=4, max_model_len=4096, present={"max_num_seqs": 256, "max_num_batched_tokens": 2048})


def latency(config: dict[str, Any]) -> float:
    """Rises away from 6000 tokens in a step and 64 requests; large without prefix caching."""
    tokens, seqs = np.log2(config["max_num_batched_tokens"]) - 12.5, np.log2(config["max_num_seqs"]) - 6
    return float(
        1 + 0.1 * tokens**2 + 0.05 * seqs**2 + 0.1 * (config["tensor_parallel"] != 1) + (not config["enable_prefix_caching"])
    )


def studied(canary: float | None, trials: int = 20) -> list[optuna.trial.FrozenTrial]:
    study = optuna.create_study(sampler=ScootSampler(SPACE, seed=5, canary=canary))
    for _ in range(trials):
        trial = study.ask()
        value = latency(ask(trial, SPACE))
        trial.set_user_attr(GUARDED, [value])
        study.tell(trial, value)
    return study.trials


def test_a_canary_study_leaves_its_band_seldom_where_a_free_one_leaves_it_often_and_it_still_improves() -> None:
    safe, free = studied(0.1), studied(None)
    limit = 1.1 * latency(dict(SPACE.default))
    left = sum(trial.value > limit for trial in safe)
    assert left <= 8
    assert left < sum(trial.value > limit for trial in free) / 2
    assert min(trial.value for trial in safe) < latency(dict(SPACE.default))


def test_a_step_aside_is_lawful_new_and_near() -> None:
    centre = SPACE.unit(SPACE.default)
    tried = [centre]
    for number in range(12):
        config = step_aside(SPACE, centre, np.array(tried), generator(number, "test"))
        assert SPACE.allows(config)
        point = SPACE.unit(config)
        assert not any((point == other).all() for other in tried)
        assert (np.abs(point - centre) > 1e-9).sum() <= 2  # its own knob, and one that a rule may move
        tried.append(point)


def test_within_the_band_is_judged_against_the_default_in_every_guarded_cost() -> None:
    costs = np.array([[1.0, 10.0], [1.05, 9.0], [1.2, 9.0], [0.9, np.inf]])
    assert within(costs, 0, 0.1).tolist() == [True, True, False, False]
