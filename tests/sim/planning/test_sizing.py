"""Where strain crosses 1: in few runs, on whole engines and on loads, with as much doubt as the runs leave."""

import math
from dataclasses import dataclass

import pytest

from sim.planning.sizing import Ladder, difference, loads, need, need_per_seed, rungs, smallest


@dataclass(frozen=True)
class Run:
    strain: float
    lo: float = 0.0
    hi: float = 0.0

    @classmethod
    def sure(cls, strain):
        return cls(strain, strain, strain)


def falling(crossing, power=2.0, worst=math.inf):
    """Strain as a power of supply, 1 at ``crossing``; no request finishes where it would be above ``worst``."""
    ladder = Ladder(1, 10_000)

    def run(rung):
        strain = (crossing / ladder.supply(rung)) ** power
        return Run.sure(strain if strain < worst else math.inf)

    return run


@pytest.mark.parametrize("crossing", [0.3, 1.0, 2.6, 7.2, 40.0, 63.9])
@pytest.mark.parametrize("start", [1, 8, 64])
@pytest.mark.parametrize("power", [0.6, 2.0, 8.0])
def test_the_least_number_of_engines_that_holds_is_found(crossing, start, power):
    found = smallest(falling(crossing, power), start, Ladder(1, 64))
    assert rungs(found) == (math.ceil(crossing) - 1 or None, math.ceil(crossing))


def test_a_flat_stretch_before_the_crossing_does_not_make_the_search_creep():
    ladder = loads(1 / 16, 16)

    def run(rung):
        load = 1 / ladder.supply(rung)
        return Run.sure(0.55 + 0.05 * load if load < 1.4 else 4.0 * load)

    found = smallest(run, 0, ladder, tries=10)
    missed, held = rungs(found)
    assert held - missed == 1


def test_a_policy_that_fills_engines_up_to_their_objectives_is_sized_to_the_engine():
    found = smallest(lambda engines: Run.sure(18.0 if engines < 5 else 0.992), 4, Ladder(1, 64))
    assert rungs(found) == (4, 5)
    assert len(found) <= 6
    assert 4 < need(found, Ladder(1, 64)).value <= 5


def test_few_runs_are_enough_near_the_start():
    assert len(smallest(falling(7.2), 8, Ladder(1, 64))) == 2
    assert len(smallest(falling(20.5), 8, Ladder(1, 64))) <= 5


def test_a_fleet_that_is_a_little_too_small_and_far_behind_is_sized_in_three_runs():
    """A queue that grows for minutes strains without measure; the answer is an engine away all the same."""
    found = smallest(lambda engines: Run.sure(24.0 if engines < 6 else 0.9), 5, Ladder(1, 64), tries=5)
    assert rungs(found) == (5, 6)
    assert len(found) == 3


def test_overload_that_finishes_nothing_is_left_in_strides_that_grow():
    found = smallest(falling(20.5, worst=1.5), 2, Ladder(1, 64))
    assert rungs(found) == (20, 21)


def test_too_few_engines_are_said_to_be_too_few():
    found = smallest(falling(20.5), 4, Ladder(1, 8))
    assert rungs(found) == (8, None)
    assert need(found, Ladder(1, 8)) is None


def test_a_load_is_found_to_a_rung():
    ladder = loads(1 / 16, 16)
    found = smallest(lambda rung: Run.sure(1 / 1.7 / ladder.supply(rung)), 0, ladder)
    missed, held = rungs(found)
    assert held - missed == 1
    assert 1 / need(found, ladder).value == pytest.approx(1.7, rel=0.001)


def test_the_need_is_a_fraction_between_the_rungs_and_doubt_of_strain_is_doubt_of_it():
    ladder = Ladder(1, 64)
    runs = {7: Run.sure((7.4 / 7) ** 2), 8: Run((7.4 / 8) ** 2, (7.4 / 8) ** 2 / 1.21, (7.4 / 8) ** 2 * 1.21)}
    takes = need(runs, ladder)
    assert takes.value == pytest.approx(7.4)
    assert (takes.lo, takes.hi) == (pytest.approx(7.4 / 1.1), pytest.approx(7.4 * 1.1))


def test_seeds_at_the_same_rungs_each_have_a_need():
    ladder = Ladder(1, 64)
    pairs = [{rung: Run.sure((crossing / rung) ** 3) for rung in (7, 8)} for crossing in (7.1, 7.8, 8.3)]
    assert need_per_seed(pairs, ladder) == [pytest.approx(x) for x in (7.1, 7.8, 8.3)]


def test_pairs_tell_what_averages_do_not():
    luck = [1.0, 1.5, 0.7, 1.2]
    a, b = [5 * x for x in luck], [5.5 * x * y for x, y in zip(luck, (1.01, 0.99, 1.0, 1.0), strict=True)]
    mean, _, hi = difference(a, b)
    assert mean == pytest.approx(math.log(5 / 5.5), abs=0.01)
    assert hi < 0
    assert difference(a[:1], b[:1])[1:] == (-math.inf, math.inf)


def test_equal_differences_of_few_seeds_are_not_believed_to_the_last_digit():
    _, lo, hi = difference([5.0, 5.0, 5.0], [5.01, 5.01, 5.01])
    assert lo < 0 < hi
