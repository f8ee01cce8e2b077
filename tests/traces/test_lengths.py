"""Length models: marginals as given, dependence as given, the same draws for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.streams import generator
from traces.errors import InputError
from traces.inspect import spearman
from traces.lengths import Fixed, LengthModel, Lognormal, RankCorrelation, RankGrid, Uniform
from traces.quantiles import QuantileTable

PERCENT = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
PROMPT = QuantileTable(PERCENT, (2, 31, 181, 220, 396, 1015, 1204, 4074, 4085, 4121, 14050))
OUTPUT = QuantileTable(PERCENT, (7, 16, 39, 50, 81, 115, 393, 421, 448, 598, 1000))
N = 50_000


def sample(model: LengthModel, n: int = N, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return model.sample(n, generator(seed, "lengths"))


def test_quantiles_of_the_draws_are_those_of_the_table() -> None:
    prompt, output = sample(LengthModel(PROMPT, OUTPUT))
    for table, tokens in ((PROMPT, prompt), (OUTPUT, output)):
        # Ranks, not values: a quantile where the distribution is thin may lie anywhere in a wide gap.
        for percent, value in zip(PERCENT[1:-1], table.values[1:-1], strict=True):
            below, upto = (tokens < value).mean(), (tokens <= value).mean()
            assert below - 0.01 <= percent / 100 <= upto + 0.01
        assert tokens.min() >= table.values[0]
        assert tokens.max() <= table.values[-1]


@pytest.mark.parametrize("log", [True, False])
def test_the_mean_of_a_table_is_the_mean_of_its_draws(log: bool) -> None:
    table = QuantileTable(PERCENT, (2, 31, 181, 220, 396, 396, 1204, 4074, 4085, 4121, 14050), log=log)
    draws = table.at((np.arange(1_000_000) + 0.5) / 1_000_000)
    assert table.mean == pytest.approx(draws.mean(), rel=1e-5)


def test_a_table_interpolates_the_logarithm_or_the_value() -> None:
    middle = np.array([0.5])
    assert QuantileTable((0, 100), (1, 100)).at(middle) == pytest.approx(10)
    assert QuantileTable((0, 100), (1, 100), log=False).at(middle) == pytest.approx(50.5)


@pytest.mark.parametrize("rho", [-1.0, -0.48, 0.0, 0.3, 0.9, 1.0])
def test_the_rank_correlation_is_the_one_asked_for(rho: float) -> None:
    prompt, output = sample(LengthModel(Lognormal(1000, 1.0), Lognormal(200, 0.8), RankCorrelation(rho)))
    assert spearman(prompt, output) == pytest.approx(rho, abs=0.015)


def test_correlation_leaves_the_marginals_alone() -> None:
    model = LengthModel(PROMPT, OUTPUT, RankCorrelation(-0.7))
    alone, joined = sample(LengthModel(PROMPT, OUTPUT)), sample(model)
    np.testing.assert_array_equal(joined[0], alone[0])
    ranks = np.searchsorted(np.sort(alone[1]), joined[1]) / N
    assert ranks.mean() == pytest.approx(0.5, abs=0.01)
    assert joined[1].mean() == pytest.approx(OUTPUT.mean, rel=0.02)


def test_a_rank_grid_is_reproduced_cell_by_cell_and_keeps_ranks_uniform() -> None:
    counts = np.array([[40, 0, 60], [50, 40, 10], [10, 60, 30]])
    u, v = RankGrid(tuple(map(tuple, counts.tolist()))).join(generator(1, "u").random(N), generator(1, "v").random(N))
    cells = np.zeros((3, 3))
    np.add.at(cells, ((u * 3).astype(int), (v * 3).astype(int)), 1)
    np.testing.assert_allclose(cells / N, counts / 300, atol=0.006)
    np.testing.assert_allclose(np.histogram(v, 20, (0, 1))[0] / N, 0.05, atol=0.005)


@given(st.lists(st.lists(st.integers(1, 900), min_size=4, max_size=4), min_size=4, max_size=4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_any_grid_gives_uniform_output_ranks(counts: list[list[int]], seed: int) -> None:
    _, v = RankGrid(tuple(map(tuple, counts))).join(generator(seed, "u").random(20_000), generator(seed, "v").random(20_000))
    np.testing.assert_allclose(np.histogram(v, 4, (0, 1))[0] / 20_000, 0.25, atol=0.03)


def test_log_normal_lengths_are_those_of_the_benchmark() -> None:
    prompt, output = sample(LengthModel(Lognormal(1050, 0.6, 32, 3000), Lognormal(205, 0.6, 8, 1000)))
    # The median of a log-normal of mean m and sigma s is m exp(-s^2/2); clipping moves no quantile inside the bounds.
    assert np.median(prompt) == pytest.approx(1050 * math.exp(-0.18), rel=0.02)
    assert np.median(output) == pytest.approx(205 * math.exp(-0.18), rel=0.02)
    assert prompt.max() == 3000
    assert output.max() == 1000
    assert prompt.min() >= 32
    share_clipped = 1 - 0.5 * (1 + math.erf((math.log(3000 / 1050) + 0.18) / 0.6 / math.sqrt(2)))
    assert (prompt == 3000).mean() == pytest.approx(share_clipped, abs=0.003)


def test_a_log_normal_without_spread_is_its_mean() -> None:
    assert set(sample(LengthModel(Lognormal(64, 0.0), Fixed(1)), 100)[0].tolist()) == {64}


def test_uniform_lengths_hit_every_number_alike() -> None:
    counts = np.bincount(sample(LengthModel(Uniform(3, 7), Fixed(1)))[0])
    assert counts[:3].sum() == 0
    np.testing.assert_allclose(counts[3:] / N, 0.2, atol=0.01)


def test_fixed_lengths_are_fixed_and_the_mean_output_is_told() -> None:
    model = LengthModel(Fixed(1024), Fixed(128))
    prompt, output = sample(model, 10)
    assert set(prompt.tolist()) == {1024}
    assert set(output.tolist()) == {128}
    assert model.mean_output_tokens == 128
    assert LengthModel(PROMPT, OUTPUT).mean_output_tokens == pytest.approx(OUTPUT.mean, rel=1e-3)


def test_the_first_requests_do_not_depend_on_how_many_follow() -> None:
    model = LengthModel(PROMPT, OUTPUT, RankCorrelation(0.4))
    few, many = sample(model, 10), sample(model, 1000)
    np.testing.assert_array_equal(few[0], many[0][:10])
    np.testing.assert_array_equal(few[1], many[1][:10])


def test_prompts_stay_when_the_output_distribution_changes() -> None:
    np.testing.assert_array_equal(sample(LengthModel(PROMPT, OUTPUT))[0], sample(LengthModel(PROMPT, Fixed(9)))[0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Fixed(0), "give at least 1"),
        (lambda: Uniform(5, 4), "give 1 <= min <= max"),
        (lambda: Lognormal(0, 1), "give mean > 0"),
        (lambda: Lognormal(10, 1, 8, 4), "1 <= min <= max"),
        (lambda: RankCorrelation(1.2), "from -1 to 1"),
        (lambda: RankGrid(((1, 2),)), "k rows of k counts"),
        (lambda: RankGrid(((0, 0), (1, 1))), "no row without requests"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()  # type: ignore[operator]
