"""Step noise: one factor per (seed, engine, step)."""

from __future__ import annotations

import numpy as np
import pytest

from policies.fingerprint import NOISE_LEVELS
from sim.noise import CHUNK, StepNoise
from tests.sim.cluster import play
from traces.assembly.noise import STEP_NOISE, STEP_SIGMA
from traces.workload import RequestClass, Workload


def factors(noise: StepNoise, chunk: int) -> np.ndarray:
    return np.diff(noise.sums(chunk)[0])


def test_factors_have_mean_one_and_the_spread_asked_for() -> None:
    drawn = np.concatenate([factors(StepNoise(1, 0, 0.05), chunk) for chunk in range(50)])
    n = len(drawn)
    assert drawn.mean() == pytest.approx(1, abs=4 * 0.05 / np.sqrt(n))
    assert drawn.std() == pytest.approx(0.05, rel=4 / np.sqrt(2 * n))
    assert drawn.min() > 0


def test_factors_follow_the_quantiles_that_were_measured() -> None:
    drawn = np.concatenate([factors(StepNoise(1, 0, STEP_SIGMA, STEP_NOISE), chunk) for chunk in range(50)])
    assert drawn.mean() == pytest.approx(1, abs=4 * STEP_SIGMA / np.sqrt(len(drawn)))
    assert drawn.std() == pytest.approx(STEP_SIGMA, rel=0.15)
    np.testing.assert_allclose(np.quantile(drawn, NOISE_LEVELS[1:-1]), STEP_NOISE[1:-1], atol=2e-3)
    assert drawn.min() >= STEP_NOISE[0]
    assert drawn.max() <= STEP_NOISE[-1]


def test_factors_belong_to_seed_engine_and_step() -> None:
    same = StepNoise(1, 0, 0.05)
    np.testing.assert_array_equal(factors(StepNoise(1, 0, 0.05), 3), factors(same, 3))
    for other in (StepNoise(2, 0, 0.05), StepNoise(1, 1, 0.05)):
        assert abs(np.corrcoef(factors(same, 3), factors(other, 3))[0, 1]) < 0.1
    assert abs(np.corrcoef(factors(same, 0), factors(same, 1))[0, 1]) < 0.1


def test_prefix_sums_give_any_run_of_steps() -> None:
    noise = StepNoise(4, 2, 0.1)
    noise.load(2 * CHUNK + 5)
    f = factors(noise, 2)
    assert noise.first[40] - noise.first[5] == pytest.approx(f[5:40].sum(), rel=1e-12)
    assert noise.moment[40] - noise.moment[5] == pytest.approx((np.arange(5, 40) * f[5:40]).sum(), rel=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_a_run_longer_than_a_chunk_has_the_same_times_with_and_without_leaps(sigma: float) -> None:
    workload = Workload.make([0.0, 3.0], [5, 5], [3 * CHUNK // 2, CHUNK], classes=(RequestClass(model="m"),))
    leaping, walking = (play(workload, noise=sigma, leap=leap, seed=9) for leap in (True, False))
    assert leaping.events < 30 < walking.events
    np.testing.assert_array_equal(leaping.column("last_token_s"), walking.column("last_token_s"))


def test_without_noise_steps_take_their_mean_time() -> None:
    outcome = play(Workload.make([0.0], [5], [11], classes=(RequestClass(model="m"),)), step={"overhead_s": 0.5})
    assert outcome.column("last_token_s").tolist() == [5.5]
