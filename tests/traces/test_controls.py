"""Control variates: what a known cause explains is taken out of a mean, its error is told rightly, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from traces.controls import DRAWS_PER_SEED, Controls, adjusted

TRUTH = 5.0


def studies(seeds: int, slope: float, runs: int = 2000):
    """Values around 5 that follow two controls, which cost much to know in a run and little without."""
    rng = np.random.default_rng(1)
    for _ in range(runs):
        x = rng.exponential(1.0, (seeds * (1 + DRAWS_PER_SEED), 2))
        own = x[:seeds]
        y = TRUTH + slope * (own - 1.0) @ [2.0, -1.0] + rng.standard_normal(seeds)
        yield y, Controls(own, x[seeds:])


@pytest.mark.parametrize("seeds", [10, 25])
def test_its_intervals_cover_as_promised(seeds):
    from scipy import stats

    held = []
    for y, controls in studies(seeds, slope=1.0):
        found = adjusted(y, controls)
        half = stats.t.ppf(0.975, found.degrees) * found.variance**0.5
        held.append(abs(found.mean - TRUTH) <= half)
    assert 0.93 <= np.mean(held) <= 0.97


def test_it_takes_out_what_the_controls_explain():
    means = [(y.mean(), adjusted(y, controls).mean) for y, controls in studies(20, slope=1.0)]
    plain, better = np.var(means, axis=0)
    # of 1 + 5 per seed, 1 is left, times (20 − 2) / (20 − 4), and a twentieth of 5
    assert plain * 20 == pytest.approx(6.0, rel=0.1)
    assert better * 20 == pytest.approx(18 / 16 + 5 / DRAWS_PER_SEED, rel=0.1)


def test_controls_that_explain_nothing_cost_little():
    means = [(y.mean(), adjusted(y, controls).mean) for y, controls in studies(20, slope=0.0)]
    plain, adjusted_ = np.var(means, axis=0)
    assert adjusted_ / plain == pytest.approx(18 / 16, rel=0.1)


def test_a_workload_that_is_the_same_under_every_seed_has_no_luck_to_take_out():
    rng = np.random.default_rng(2)
    assert not Controls(np.full((10, 2), 7.0), np.full((200, 2), 7.0)).usable
    x = rng.exponential(1.0, (210, 1))
    assert not Controls(np.hstack([x, 3 * x])[:10], np.hstack([x, 3 * x])[10:]).usable
    y = rng.exponential(1.0, (210, 2))
    assert Controls(y[:10], y[10:]).usable
