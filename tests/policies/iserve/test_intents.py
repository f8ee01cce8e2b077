"""Intents rank candidates, limits are hard, and an impossible intent says what would satisfy it."""

import re

import pytest

from policies.intent import Intent
from policies.iserve.accuracy import relative_accuracy
from policies.iserve.intents import Impossible, best, ranked
from tests.policies.iserve.test_candidates import candidates


def test_each_goal_finds_the_least_of_what_it_names():
    offered = candidates("llama-2-70b")
    assert best(offered, Intent("min_latency")).latency_s.value == min(c.latency_s.value for c in offered)
    assert best(offered, Intent("min_memory")).memory_bytes.value == min(c.memory_bytes.value for c in offered)
    gpu_seconds = best(offered, Intent("min_gpu_time"))
    assert gpu_seconds.latency_s.value * gpu_seconds.gpus == min(c.latency_s.value * c.gpus for c in offered)
    cost = best(offered, Intent("min_cost"))
    assert cost.usd_per_mtok.value == min(c.usd_per_mtok.value for c in offered)


def test_goals_disagree():
    offered = candidates("llama-2-70b")
    assert len({best(offered, Intent(goal)).configuration for goal in ("min_latency", "min_memory", "min_memory_time")}) == 3


def test_a_limit_is_hard():
    offered = candidates("llama-2-70b")
    kept = ranked(offered, Intent("min_memory", latency_s=1.2))
    assert 0 < len(kept) < len(offered)
    assert all(c.latency_s.value <= 1.2 for c in kept)


def test_a_cautious_limit_holds_at_the_far_end_of_the_interval():
    offered = candidates("llama-2-70b")
    cautious = ranked(offered, Intent("min_memory", latency_s=1.2, cautious=True))
    assert all(c.latency_s.high <= 1.2 for c in cautious)
    assert len(cautious) < len(ranked(offered, Intent("min_memory", latency_s=1.2)))


def test_a_precision_without_a_published_figure_does_not_pass_a_quality_floor():
    kept = ranked(candidates("llama-2-70b"), Intent("min_latency", accuracy=0.99))
    assert {c.configuration.precision for c in kept} == {"fp16"}


def test_users_give_their_own_accuracy():
    assert relative_accuracy("my-model", "int4") is None
    assert relative_accuracy("my-model", "int4", own={("my-model", "int4"): 0.97}) == 0.97
    assert relative_accuracy("llama-3.1-70b", "fp8", "fp8") < relative_accuracy("llama-3.1-70b", "fp8") < 1


def test_an_impossible_intent_says_which_limit_binds_and_what_would_do():
    offered = candidates("llama-2-70b")
    with pytest.raises(Impossible) as fault:
        best(offered, Intent("min_cost", latency_s=0.95, accuracy=0.99))
    said = float(re.search(r"it would take latency ([\d.]+) s", str(fault.value))[1])
    assert best(offered, Intent("min_cost", latency_s=said, accuracy=0.99)).configuration.precision == "fp16"
    with pytest.raises(Impossible):
        best(offered, Intent("min_cost", latency_s=said * 0.99, accuracy=0.99))


def test_two_limits_that_fail_alone_are_both_named():
    with pytest.raises(Impossible, match=r"no single limit.*latency is .* at best.*cost is"):
        best(candidates("llama-2-70b"), Intent(latency_s=0.01, usd_per_mtok=0.01))


def test_nothing_fits_is_said_as_such():
    with pytest.raises(Impossible, match="memory"):
        best([], Intent())


@pytest.mark.parametrize("wrong", [{"goal": "fast"}, {"latency_s": -1.0}, {"accuracy": 0.0}])
def test_an_intent_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"goal|limit"):
        Intent(**wrong)
