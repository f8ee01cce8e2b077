"""Workload statistics against hand-made workloads, plain-Python definitions and the published facts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.streams import generator
from traces.inspect import describe, index_of_dispersion, prefix_hits, prefix_sharing, spearman
from traces.readers import read
from traces.workload import Workload


def with_blocks(blocks: list[list[int]]) -> Workload:
    n = len(blocks)
    return Workload.make(
        np.arange(n, dtype=float),
        np.full(n, 64),
        np.ones(n),
        block_offsets=np.concatenate([[0], np.cumsum([len(b) for b in blocks])]).astype(np.int64),
        block_ids=np.asarray([i for b in blocks for i in b], np.int64),
        block_tokens=16,
    )


def test_a_workload_by_hand() -> None:
    workload = Workload.make(
        [0, 30, 60, 90, 100, 130, 180], [10, 20, 30, 40, 50, 60, 70], [7, 6, 5, 4, 3, 2, 1], source={"name": "tiny"}
    )
    facts = describe(workload)
    assert facts["name"] == "tiny"
    assert (facts["requests"], facts["duration_s"], facts["rate_per_s"]) == (7, 180, 6 / 180)
    # Minutes: {0, 30}, {60, 90, 100}, {130}; the one at 180 s begins the fourth, which is not full.
    assert facts["minutes"] == {"full": 3, "peak_requests": 3, "peak_to_mean": 1.5}
    gaps = np.array([30, 30, 30, 10, 30, 50])
    assert facts["gaps"]["mean_s"] == 30
    assert facts["gaps"]["cv"] == pytest.approx(gaps.std() / 30)
    assert facts["prompt_tokens"]["mean"] == 40
    assert facts["prompt_tokens"]["total"] == 280
    assert facts["prompt_tokens"]["percentiles"]["50"] == 40
    assert facts["spearman"] == pytest.approx(-1)
    assert facts["index_of_dispersion"]["60"] is None
    assert facts["prefix"] is None
    assert facts["classes"] == {"default": 7}


def test_one_request_and_a_backlog_leave_unknown_what_cannot_be_known() -> None:
    for arrivals in ([5.0], [0.0, 0.0, 0.0]):
        facts = describe(Workload.make(arrivals, np.full(len(arrivals), 3), np.ones(len(arrivals))))
        assert facts["rate_per_s"] is None
        assert facts["gaps"]["cv"] is None
        assert facts["spearman"] is None
        assert facts["minutes"]["peak_to_mean"] is None
        assert set(facts["index_of_dispersion"].values()) == {None}
        json.dumps(facts, allow_nan=False)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.9, 3.0, 20.0]), min_size=2, max_size=60), st.sampled_from([0.5, 1.0, 2.5]))
@settings(deadline=None)
def test_the_index_of_dispersion_is_variance_over_mean_of_full_windows(gaps: list[float], window_s: float) -> None:
    arrivals = 100 + np.cumsum(gaps)
    full = int((arrivals[-1] - arrivals[0]) // window_s)
    counts = [sum(1 for t in arrivals if (t - arrivals[0]) // window_s == k) for k in range(full)]
    if full < 8:
        assert index_of_dispersion(arrivals, window_s) is None
    else:
        assert index_of_dispersion(arrivals, window_s) == pytest.approx(np.var(counts, ddof=1) / np.mean(counts))


def test_a_silence_of_years_needs_no_memory() -> None:
    assert index_of_dispersion(np.array([0.0, 1.0, 1e12]), 1e-3) == pytest.approx(1.0, abs=1e-3)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40))
@settings(deadline=None)
def test_spearman_is_scipy_s_ties_included(pairs: list[tuple[int, int]]) -> None:
    from scipy.stats import spearmanr

    x, y = map(list, zip(*pairs, strict=True))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert spearman(x, y) is None
    else:
        assert spearman(x, y) == pytest.approx(spearmanr(x, y)[0])


@given(st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=20))
@settings(deadline=None)
def test_prefix_hits_are_the_leading_blocks_that_came_before(blocks: list[list[int]]) -> None:
    seen: set[int] = set()
    expected = []
    for own in blocks:
        expected.append(next((k for k, block in enumerate(own) if block not in seen), len(own)))
        seen.update(own)
    assert prefix_hits(with_blocks(blocks)).tolist() == expected


def test_prefix_sharing_by_hand() -> None:
    shared = prefix_sharing(with_blocks([[0, 1, 2], [0, 1, 3, 4], [9, 1], [0, 1, 2, 5]]))
    assert shared is not None
    assert shared["blocks"] == 13
    assert shared["distinct_blocks"] == 7
    assert shared["block_hit_fraction"] == (0 + 2 + 0 + 3) / 13
    assert shared["request_hit_fraction"]["50"] == 0.25  # of 0, 1/2, 0, 3/4
    assert shared["used_once_fraction"] == 4 / 7  # 3, 4, 9 and 5
    assert (shared["top_block_requests"], shared["top_block_share"]) == (4, 1.0)


@pytest.mark.parametrize(
    ("file", "fact"),
    [
        ("azure2023/AzureLLMInferenceTrace_conv.first40min.csv.gz", "azure2023_conv"),
        ("azure2023/AzureLLMInferenceTrace_code.first40min.csv.gz", "azure2023_code"),
        ("mooncake/conversation_trace.first40min.jsonl.gz", "mooncake_conversation"),
    ],
)
def test_statistics_of_real_traces_are_the_published_facts(shared_data: Path, file: str, fact: str) -> None:
    known = json.loads((shared_data / "facts.json").read_text("utf-8"))[fact]
    facts = describe(read(shared_data / "traces" / file))
    assert facts["requests"] == known["rows"]
    assert facts["duration_s"] == pytest.approx(known["duration_s"])
    assert facts["rate_per_s"] == pytest.approx(known["mean_rate_rps"])
    assert facts["spearman"] == pytest.approx(known["spearman_in_out"])
    assert facts["gaps"]["cv"] == pytest.approx(known["iat"]["cv"], rel=1e-3)
    assert facts["minutes"]["peak_to_mean"] == pytest.approx(known["peak_to_mean_minute"], rel=3e-3)
    # Mooncake's 3-second ticks fall on either side of the windows' edges, by a millisecond.
    slack = 0.05 if fact == "mooncake_conversation" else 1e-6
    for window, index in facts["index_of_dispersion"].items():
        assert index == pytest.approx(known["index_of_dispersion"][f"{window}s"], rel=slack)
    for ours, theirs in (("prompt_tokens", "input_tokens"), ("output_tokens", "output_tokens")):
        assert facts[ours]["mean"] == pytest.approx(known[theirs]["mean"])
        assert facts[ours]["percentiles"] == pytest.approx(known[theirs]["quantiles"])
    if fact == "mooncake_conversation":
        assert facts["prefix"]["block_hit_fraction"] == pytest.approx(known["prefix"]["block_prefix_hit_frac_infinite_cache"])
        assert facts["prefix"]["distinct_blocks"] == known["prefix"]["blocks_unique"]
        assert facts["prefix"]["used_once_fraction"] == pytest.approx(known["prefix"]["blocks_used_once_frac"])
        assert facts["prefix"]["top_block_requests"] == known["prefix"]["top_block_refs"][0]


def test_poisson_is_told_from_bursts() -> None:
    rng = generator(1, "test")
    poisson, bursty = rng.exponential(1, 50_000).cumsum(), rng.gamma(0.25, 4, 50_000).cumsum()
    assert index_of_dispersion(poisson, 50.0) == pytest.approx(1, abs=0.15)
    assert index_of_dispersion(bursty, 50.0) == pytest.approx(4, rel=0.2)
