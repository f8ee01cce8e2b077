"""Which studies the figures rest on."""

from __future__ import annotations

from collections import Counter

from figures.scoot.services import SERVICES
from figures.scoot.studies import (
    COMPARED,
    INTEGERS,
    LATENCIES,
    LATER_SEEDS,
    SEEDS,
    THROUGHPUT,
    UNRULED_BASELINES,
    Asked,
    every,
    later,
    run,
    space_for,
)
from figures.tuning.knobs import space_of
from policies.scoot.space import LogIntegers
from traces.scenario import load_scenario


def test_each_comparison_asks_every_sampler_of_every_service_with_the_same_seeds_and_no_study_twice() -> None:
    asked = [*every(), *later()]
    assert len(set(asked)) == len(asked)
    counts = Counter((one.sampler, one.objective, one.space) for one in asked if one.parallel == 1)
    for sampler in (*COMPARED, *UNRULED_BASELINES):
        more = len(LATER_SEEDS) if sampler in COMPARED else 0
        assert counts[sampler, THROUGHPUT, "tiles"] == (len(SEEDS) + more) * len(SERVICES)
    for sampler in COMPARED:
        assert counts[sampler, THROUGHPUT, INTEGERS] == len(SEEDS) * len(SERVICES)
        assert counts[sampler, LATENCIES, "tiles"] == (0 if sampler == "auto-tune" else len(SEEDS) * len(SERVICES))


def test_the_two_spaces_differ_in_one_knob() -> None:
    whole = Asked("cls", THROUGHPUT, "scoot", 1, space=INTEGERS)
    tiles = Asked("cls", THROUGHPUT, "scoot", 1)
    default = space_of(load_scenario(tiles.scenario, tiles.sets))
    assert space_for(tiles).knobs == default.knobs
    (differs,) = set(space_for(whole).knobs) - set(default.knobs)
    assert differs == LogIntegers("max_num_batched_tokens", 256, 8192)


def test_without_rules_baselines_try_what_vllm_refuses_and_with_them_they_do_not() -> None:
    def refused(sampler: str) -> int:
        rows = run(Asked("bot", THROUGHPUT, sampler, 1), trials=12)
        return sum(row["failure"] == "start-up refused" for row in rows)

    assert refused("random") == 0
    assert refused("random-without-rules") > 2
