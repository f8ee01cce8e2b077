"""Every kind of intent on today's engines: what it asks for is kept, and where it cannot be, what is named as enough is enough."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest

from policies.intent import Intent
from policies.iserve.candidate import Candidate
from policies.iserve.intents import Impossible, best, keeps, ranked
from policies.placement import Demand
from policies.types import SLO
from traces.candidates import candidates

AT_RATE = Demand("llama-3.1-8b", "", SLO(), rate_per_s=20.0, prompt_tokens=800, output_tokens=200)
UNITS = {"s": 1.0, "ms": 1e-3, "%": 1e-2, "/Mtok": 1.0}


@cache
def offered() -> list[Candidate]:
    return candidates(AT_RATE, {"h100": 8, "l40s": 8})


@pytest.mark.parametrize("goal", ["min_latency", "min_cost", "min_memory", "min_gpu_time", "min_memory_time"])
def test_a_goal_alone_is_always_possible(goal: str) -> None:
    assert best(offered(), Intent(goal)) in offered()


@pytest.mark.parametrize(
    "intent",
    [
        Intent("min_cost", latency_s=1.5),
        Intent("min_cost", ttft_s=0.1),
        Intent("min_memory", tpot_s=0.012),
        Intent("min_latency", usd_per_mtok=0.5),
        Intent("min_cost", accuracy=0.995),
        Intent("min_gpu_time", ttft_s=0.2, tpot_s=0.02, accuracy=0.99, cautious=True),
    ],
)
def test_a_target_excludes_some_and_leaves_some(intent: Intent) -> None:
    kept = ranked(offered(), intent)
    assert 0 < len(kept) < len(offered())
    assert all(keeps(candidate, intent) for candidate in kept)


@pytest.mark.parametrize(
    ("field", "asked", "named"),
    [
        ("latency_s", 1e-3, "latency"),
        ("ttft_s", 1e-4, "TTFT"),
        ("tpot_s", 1e-4, "TPOT"),
        ("usd_per_mtok", 1e-3, "cost"),
        ("accuracy", 1.5, "accuracy"),
    ],
)
def test_an_impossible_target_says_which_limit_binds_and_what_would_satisfy_it(field: str, asked: float, named: str) -> None:
    intent = Intent("min_cost", **{field: asked})
    with pytest.raises(Impossible) as told:
        best(offered(), intent)
    text = str(told.value)
    found = re.search(rf"it would take {named} \$?([\d.e-]+) ?(ms|s|%|/Mtok)", text)
    assert found, text
    enough = float(found[1]) * UNITS[found[2]]
    assert keeps(best(offered(), replace(intent, **{field: enough})), replace(intent, **{field: enough}))


def test_a_load_beyond_all_gpus_leaves_no_configuration_and_says_so() -> None:
    beyond = candidates(replace(AT_RATE, rate_per_s=1e5), {"h100": 1})
    with pytest.raises(Impossible, match="offer more or larger GPUs"):
        best(beyond, Intent("min_cost"))
