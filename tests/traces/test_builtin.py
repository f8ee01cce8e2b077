"""Built-in workloads against the published facts of the traces that they describe.

The facts were computed from the traces themselves, by other code than ``traces.fit``.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from traces import fit
from traces.builtin import BUILTIN
from traces.errors import InputError
from traces.inspect import describe, prefix_sharing, spearman
from traces.synthesis import backlog, builtin, synthesise
from traces.workload import Workload

N = 50_000


class Facts(NamedTuple):
    """Quantiles in tokens at 5, 25, 50, 75, 90, 95, 99 %."""

    mean_prompt: float
    prompt: tuple[float, ...]
    mean_output: float
    output: tuple[float, ...]
    spearman: float | None = None
    rate: float | None = None


LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
FACTS = {
    "azure-2023-conv": Facts(
        *(1195.14, (181, 396, 1015, 1204, 4074, 4085, 4121.25)),
        *(201.50, (39, 81, 115, 393, 421, 448, 598), 0.0331, 5.9063),
    ),
    "azure-2023-code": Facts(
        *(2040.11, (77, 573, 1465, 2724.5, 5177, 7163, 7436)),
        *(27.583, (6, 9, 13, 23, 55, 88, 248.1), -0.0156, 3.1305),
    ),
    "mooncake-conversation": Facts(
        *(12427.96, (901, 2414, 7284, 15694.5, 27991, 40369, 89868)),
        *(347.08, (10, 155, 356, 476, 606, 712, 1168), 0.0690, 3.2749),
    ),
    "servegen-deepseek-r1": Facts(
        *(1375.34, (12, 31, 152, 417, 2847, 8359, 24820)),
        *(1827.74, (233, 479, 1051, 1764, 4348, 6691, 13596), None, 14.6154),
    ),
    "arxiv-summarization": Facts(
        *(2588.08, (748.6, 1986, 2730, 3370, 3702, 3813, 3933.44)),
        *(291.43, (60, 115, 167, 242, 372, 736.2, 3271.32), -0.1138),
    ),
    # Its published facts count conversations with an empty side, which no request can have: 1 % of the rows.
    "sharegpt": Facts(
        *(121.87 * 81494 / 80675, (7, 29, 72, 162, 323, 432, 570)),
        *(1210.94 * 81494 / 80675, (118, 506, 1311, 1864, 2077, 2201, 2399.07), 0.2933),
    ),
}


@cache
def drawn(name: str) -> Workload:
    return builtin(name, seed=11, requests=N)


def test_every_built_in_workload_has_facts_to_be_held_to() -> None:
    assert set(BUILTIN) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_lengths_have_the_trace_s_quantiles_and_means(name: str) -> None:
    facts, workload = FACTS[name], drawn(name)
    for tokens, quantiles, mean in (
        (workload.prompt_tokens, facts.prompt, facts.mean_prompt),
        (workload.output_tokens, facts.output, facts.mean_output),
    ):
        for level, value in zip(LEVELS, quantiles, strict=True):
            # In ranks: where the distribution is thin (Azure's prompts between 1,200 and 4,000) values are free to move.
            slack = 0.02 if name == "sharegpt" else 0.01
            assert (tokens < value).mean() - slack <= level <= (tokens <= value + 1).mean() + slack
        assert tokens.mean() == pytest.approx(mean, rel=0.03)


@pytest.mark.parametrize("name", [name for name, facts in FACTS.items() if facts.spearman is not None])
def test_prompt_and_output_are_as_correlated_as_in_the_trace(name: str) -> None:
    assert spearman(drawn(name).prompt_tokens, drawn(name).output_tokens) == pytest.approx(FACTS[name].spearman, abs=0.03)


def test_outputs_depend_on_prompts_as_in_azure_s_conversations() -> None:
    """Median output by decile of the prompt: middle prompts have the longest answers, which no single correlation tells."""
    upper = [220, 388, 402, 437, 1015, 1068, 1134, 1328, 4074, 14050]
    medians = [162, 72, 96, 99, 393, 405, 406, 386, 82, 52]
    workload = drawn("azure-2023-conv")
    decile = np.searchsorted(upper, workload.prompt_tokens)
    for k in range(10):
        mine = workload.output_tokens[decile == k]
        assert np.median(mine) == pytest.approx(medians[k], rel=0.2)


def test_the_longest_summaries_belong_to_the_shortest_papers() -> None:
    """The trace keeps prompt + output within 4,096 tokens: log-log correlation −0.48, though Spearman is −0.11."""
    workload = drawn("arxiv-summarization")
    prompt, output = np.log(workload.prompt_tokens), np.log(workload.output_tokens)
    assert np.corrcoef(prompt, output)[0, 1] == pytest.approx(-0.48, abs=0.13)
    assert (workload.prompt_tokens + workload.output_tokens > 4096).mean() < 0.03


@pytest.mark.parametrize("name", [name for name, facts in FACTS.items() if facts.rate is not None])
def test_without_a_rate_the_long_run_rate_is_the_trace_s(name: str) -> None:
    process = BUILTIN[name].arrivals
    assert process is not None
    assert process.natural_rate == pytest.approx(FACTS[name].rate, rel=0.04)


def test_azure_s_conversations_are_modulated_like_the_trace() -> None:
    """Index of dispersion 1.34 / 3.5 / 15.5 in 1 / 10 / 60 s, gap CV 1.08, busiest minute 1.43 times the mean."""
    facts = [describe(builtin("azure-2023-conv", seed=seed)) for seed in range(6)]
    for window, index, slack in (("1", 1.34, 0.15), ("10", 3.48, 0.6), ("60", 15.5, 3.0)):
        assert np.mean([f["index_of_dispersion"][window] for f in facts]) == pytest.approx(index, abs=slack)
    assert np.mean([f["gaps"]["cv"] for f in facts]) == pytest.approx(1.08, abs=0.05)
    assert np.mean([f["minutes"]["peak_to_mean"] for f in facts]) == pytest.approx(1.43, abs=0.1)


def test_azure_s_code_traffic_comes_in_bursts() -> None:
    """Index of dispersion 12.9 / 70 / 159 and gap CV 12.6 in the trace; independent bursts reach about 70 % of it."""
    facts = describe(drawn("azure-2023-code"))
    assert 7 < facts["index_of_dispersion"]["1"] < 14
    assert 40 < facts["index_of_dispersion"]["10"] < 80
    assert 100 < facts["index_of_dispersion"]["60"] < 200
    assert facts["gaps"]["cv"] == pytest.approx(12.6, rel=0.15)
    gaps = np.diff(builtin("azure-2023-code", seed=1, requests=400_000).arrival_s)
    sizes = np.diff(np.flatnonzero(gaps > 1.0))
    np.testing.assert_allclose(np.quantile(sizes, [0.25, 0.5, 0.75, 0.95]), [12, 29, 98, 273], rtol=0.1)
    np.testing.assert_allclose(np.quantile(gaps[gaps > 1.0], [0.25, 0.5, 0.75, 0.95]), [1.70, 3.25, 15.2, 76.7], rtol=0.1)


def test_deepseek_s_rate_follows_its_day() -> None:
    """Peaks at 33 requests/s in the third hour and falls to 4.3 in the 13th, in windows of 10 minutes."""
    arrivals = builtin("servegen-deepseek-r1", seed=4).arrival_s
    rates = np.bincount((arrivals // 600).astype(int), minlength=108)[:108] / 600
    assert rates.argmax() in range(12, 18)
    assert rates.max() == pytest.approx(33.25, rel=0.1)
    assert rates[76] == pytest.approx(4.31, rel=0.25)
    assert rates.mean() == pytest.approx(14.6154, rel=0.02)


def test_mooncake_s_prompts_share_prefixes_like_the_trace() -> None:
    """Measured: 35.1 % of the blocks hit an endless cache, 64.9 % of them distinct, 76.9 % of the distinct ones used once."""
    shared = [prefix_sharing(builtin("mooncake-conversation", seed=seed)) for seed in range(4)]
    mean = {key: np.mean([s[key] for s in shared]) for key in ("block_hit_fraction", "used_once_fraction")}  # type: ignore[index]
    assert mean["block_hit_fraction"] == pytest.approx(0.351, abs=0.03)
    assert mean["used_once_fraction"] == pytest.approx(0.769, abs=0.03)
    for percent, measured, slack in (
        ("5", 0.017, 0.01),
        ("25", 0.062, 0.02),
        ("50", 0.329, 0.08),
        ("75", 0.674, 0.08),
        ("90", 0.945, 0.04),
    ):
        found = np.mean([s["request_hit_fraction"][percent] for s in shared])  # type: ignore[index]
        assert found == pytest.approx(measured, abs=slack)
    assert {s["top_block_share"] for s in shared} == {1.0}  # type: ignore[index]


@pytest.mark.parametrize(("capacity", "measured"), [(1_000, 0.044), (10_000, 0.206), (30_000, 0.318)])
def test_mooncake_s_hits_fade_as_the_cache_shrinks(capacity: int, measured: float) -> None:
    workload = builtin("mooncake-conversation", seed=1)
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for i in range(len(workload)):
        leading = True
        for block in workload.blocks_of(i).tolist():
            if block in cache:
                hits += leading
            else:
                leading = False
            cache[block] = None
            cache.move_to_end(block)
            if len(cache) > capacity:
                cache.popitem(last=False)
    assert workload.block_ids is not None
    assert hits / len(workload.block_ids) == pytest.approx(measured, abs=0.035)


def test_mooncake_s_prompts_have_one_block_per_started_512_tokens_and_turns_belong_to_conversations() -> None:
    workload = builtin("mooncake-conversation", seed=2)
    assert workload.block_tokens == 512
    assert workload.block_offsets is not None
    np.testing.assert_array_equal(np.diff(workload.block_offsets), np.ceil(workload.prompt_tokens / 512))
    openings = set()
    assert workload.session is not None
    for i in range(2000):
        own, blocks = int(workload.session[i]), workload.blocks_of(i)
        assert len(np.unique(blocks)) == len(blocks)
        if own != i:  # a later turn begins with what its conversation began with
            assert own in openings
            assert blocks[1] == workload.blocks_of(own)[1]
        else:
            openings.add(i)


@pytest.mark.parametrize("name", BUILTIN)
def test_the_same_seed_gives_the_same_requests_at_every_rate_and_another_seed_others(name: str) -> None:
    slow, fast, other = (builtin(name, seed=s, rate=r, requests=300) for s, r in ((7, 2.0), (7, 20.0), (8, 2.0)))
    np.testing.assert_array_equal(slow.prompt_tokens, fast.prompt_tokens)
    np.testing.assert_array_equal(slow.output_tokens, fast.output_tokens)
    assert (slow.prompt_tokens != other.prompt_tokens).any()
    assert (slow.arrival_s != other.arrival_s).any()
    assert slow.classes == fast.classes


@pytest.mark.parametrize("name", BUILTIN)
def test_a_rate_and_a_duration_give_that_many_requests_on_average(name: str) -> None:
    duration_s = 7200.0
    counts = [len(builtin(name, seed=seed, rate=3.0, duration_s=duration_s)) for seed in range(3)]
    slack = 0.2 if name == "azure-2023-code" else 0.04
    assert np.mean(counts) / duration_s == pytest.approx(3.0, rel=slack)


def test_a_list_of_lengths_comes_all_at_once_without_a_rate() -> None:
    workload = builtin("arxiv-summarization", seed=1, requests=50)
    assert workload.arrival_s.tolist() == [0.0] * 50
    assert "all requests arrive at the start" in workload.source["notes"]
    assert len(builtin("sharegpt", seed=1)) == 80_675
    with pytest.raises(InputError, match="give a rate as well"):
        builtin("sharegpt", seed=1, duration_s=60)


def test_a_backlog_has_the_lengths_that_arrivals_would_have_had() -> None:
    described = BUILTIN["azure-2023-conv"]
    assert described.arrivals is not None
    source = {"name": "x"}
    waiting = backlog(described.lengths, requests=40, seed=3, source=source)
    coming = synthesise(described.arrivals, described.lengths, seed=3, requests=40, source=source)
    np.testing.assert_array_equal(waiting.prompt_tokens, coming.prompt_tokens)
    assert not waiting.arrival_s.any()


def test_provenance_names_the_trace_its_licence_and_the_seed() -> None:
    source = builtin("azure-2023-conv", seed=9, rate=2.0, requests=5).source
    assert source["licence"] == "CC-BY-4.0"
    assert source["fitted_to"].startswith("Azure/AzurePublicDataset")
    assert (source["seed"], source["rate_per_s"]) == (9, 2.0)
    json.dumps(source)


def test_the_prior_that_policies_are_told_is_the_mean_output() -> None:
    (klass,) = drawn("azure-2023-conv").classes
    assert klass.name == "azure-2023-conv"
    assert klass.expected_output_tokens == pytest.approx(201.5, rel=0.02)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no built-in workload; give one of azure-2023-conv, .*, or a file"):
        builtin("azure-2023", seed=1)


def test_too_short_a_time_says_so() -> None:
    with pytest.raises(InputError, match="give a longer duration or a higher rate"):
        builtin("azure-2023-conv", seed=1, rate=1e-6, duration_s=1.0)


def test_the_committed_numbers_are_what_the_fit_measures_on_the_traces(shared_data: Path) -> None:
    committed = json.loads(Path(fit.__file__).with_name("builtin.json").read_text("utf-8"))
    assert committed["percent"] == list(fit.PERCENT)
    for name, fitted in fit.built_ins(shared_data).items():
        entry = committed["workloads"][name]
        assert {key: entry[key] for key in fitted} == json.loads(json.dumps(fitted))
