"""Who is still in it, who is told from whom, and in which order they come."""

from dataclasses import replace

import pytest

from policies.placement import Demand
from policies.types import SLO
from sim.planning.contest import Contender, told_apart
from sim.planning.gauge import Gauge
from sim.planning.question import Arm
from sim.planning.sizing import Ladder
from traces.candidates import candidates

DEMAND = Demand("llama-3.1-8b", "all", SLO(1.0, 0.03), 20.0, 800, 100)


@pytest.fixture(scope="module")
def arms():
    offered = candidates(DEMAND, {"h100": 8, "a100": 8}, precisions={"bf16": ("bf16",)}, within_inventory=False)
    return [Arm(c, (), (), 1.0) for c in offered[:2]]


def contender(arm, price, needs, blur=1.0):
    """An arm that needs so many engines by each seed, all of whose runs were at 3 and 4 engines."""

    def run(engines, takes):
        strain = (takes / engines) ** 2
        return Gauge(strain, strain / blur, strain * blur, "", "", {}, (), ())

    seeds = {seed: {rung: run(rung, takes) for rung in (3, 4)} for seed, takes in enumerate(needs)}
    return Contender(arm, price, Ladder(1, 64), seeds)


def test_seeds_whose_luck_is_shared_tell_small_differences(arms):
    a, b = contender(arms[0], 1.0, [3.2, 3.9, 3.5]), contender(arms[1], 1.1, [3.22, 3.88, 3.51])
    assert told_apart(a, b)
    assert a.cost < b.cost


def test_luck_that_is_not_shared_leaves_them_level(arms):
    a, b = contender(arms[0], 1.0, [3.2, 3.9, 3.5]), contender(arms[1], 1.1, [3.7, 3.1, 3.3])
    assert not told_apart(a, b)


def test_one_seed_tells_only_what_its_own_noise_allows(arms):
    cheap = contender(arms[0], 1.0, [3.5])
    assert told_apart(cheap, contender(arms[1], 1.5, [3.5], blur=1.1))
    assert not told_apart(cheap, contender(arms[1], 1.5, [3.5], blur=4.0))


def test_no_arm_needs_less_than_an_engine(arms):
    little = contender(arms[0], 5.0, [0.4])
    assert little.cost == pytest.approx(5.0)


def test_an_arm_that_never_holds_costs_without_end(arms):
    a = contender(arms[0], 1.0, [3.5])
    never = replace(a, arm=arms[1], seeds={0: {4: Gauge(3.0, 3.0, 3.0, "", "", {}, (), ())}})
    assert never.cost == float("inf")
    assert told_apart(a, never)
