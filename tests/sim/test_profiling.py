"""The profiler: the highest value of a knob that keeps latency objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.profiling import Objective, grid, last_held, profile, simulated

SEEDS = 4
VALUES = grid(0.01, 0.1, 1.05)


def rising(value: float | None) -> Mapping[str, Sequence[float]]:
    """A mean that grows with the knob, a tail that grows faster, both with the luck of a seed that pairs have in common."""
    at = 0.0 if value is None else value
    luck = [1.0, 1.3, 0.8, 1.1]
    return {"mean": [x * 0.01 * (1 + 5 * at) for x in luck], "tail": [x * 0.05 * (1 + 9 * at) for x in luck]}


@given(st.integers(0, 40), st.integers(1, 40))
def test_binary_search_finds_the_last_place_that_holds(last: int, number: int) -> None:
    expected = min(last, number) - 1
    assert last_held(lambda place: place < last, number) == (expected if expected >= 0 else None)


@given(st.integers(0, 40), st.integers(1, 40), st.sets(st.integers(0, 39)))
def test_places_that_were_looked_at_before_narrow_the_search_and_change_no_answer(last: int, number: int, known: set[int]) -> None:
    known = {place for place in known if place < number}
    asked: list[int] = []

    def holds(place: int) -> bool:
        asked.append(place)
        return place < last

    assert last_held(holds, number, sorted(known)) == last_held(lambda place: place < last, number)
    bracket = min([number, *(p for p in known if p >= last)]) - max([-1, *(p for p in known if p < last)])
    assert len(set(asked) - known) <= math.ceil(math.log2(bracket))


def test_a_tolerance_is_used_as_far_as_the_grid_allows() -> None:
    found = profile(rising, VALUES, [Objective("mean", tolerance=0.2)])
    assert found.value == max(value for value in VALUES if 1 + 5 * value <= 1.2)
    assert len(found.loads) <= 7


def test_of_several_objectives_the_tightest_binds() -> None:
    mean, tail = Objective("mean", tolerance=0.4), Objective("tail", tolerance=0.4)
    both = profile(rising, VALUES, [mean, tail]).value
    assert both == profile(rising, VALUES, [tail]).value
    assert both is not None
    assert both < (profile(rising, VALUES, [mean]).value or 0)


def test_an_absolute_limit_is_to_hold_on_runs_to_come_upper_end_of_their_interval_included() -> None:
    found = profile(rising, VALUES, [Objective("mean", at_most=0.028)])
    assert found.value is not None
    assert all(load.hi < load.foreseen <= 1 for load in found.loads[found.value])
    above = VALUES[VALUES.index(found.value) + 1]
    assert any(load.foreseen > 1 >= load.hi for load in found.loads[above])
    assert profile(rising, VALUES, [Objective("mean", at_most=0.009)]).value is None
    assert profile(rising, VALUES, [Objective("mean", tolerance=0.01)]).value is None


def test_an_objective_is_relative_or_absolute() -> None:
    with pytest.raises(ValueError, match="either"):
        Objective("mean")
    with pytest.raises(ValueError, match="either"):
        Objective("mean", 0.1, 1.0)


SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
engine: {max_num_seqs: 64, max_num_batched_tokens: 512, num_gpu_blocks_override: 2000, enable_prefix_caching: off}
workload:
  - {name: chat, trace: {prompt_tokens: 300, output_tokens: 40}, rate: 8/s, slo: {ttft: 1s, tpot: 60ms}}
  - {name: batch, trace: {prompt_tokens: 1200, output_tokens: 40}, offline: true, backlog: 300}
policy: {router: least-loaded, batcher: hygen}
duration: 6s
warmup: 1s
drain: 0s
"""
GAP = "itl_s.mean@chat"


def test_a_simulated_profile_keeps_its_tolerance_and_asks_the_cache_the_second_time(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO)

    def search() -> tuple[float | None, float]:
        measure = simulated(
            path,
            "policy.batcher.hygen.budget_s",
            ["policy.batcher={hygen: {stage: observe}}"],
            [GAP, "throughput_tok_s@batch"],
            [1, 2, 3],
            cache=tmp_path / "cache",
            jobs=1,
        )
        value = profile(measure, grid(0.004, 0.05, 1.3), [Objective(GAP, tolerance=0.3)]).value
        assert sum(measure(None)["throughput_tok_s@batch"]) == 0
        assert value is not None
        slower = [one / alone for one, alone in zip(measure(value)[GAP], measure(None)[GAP], strict=True)]
        return value, max(slower)

    value, slower = search()
    assert 1 < slower < 1.4
    kept = sorted((file, file.stat().st_mtime_ns) for file in (tmp_path / "cache").rglob("*.zst"))
    assert search() == (value, slower)
    assert kept == sorted((file, file.stat().st_mtime_ns) for file in (tmp_path / "cache").rglob("*.zst"))


def test_hygen_that_only_observes_serves_online_requests_as_sarathi_does_without_offline_ones(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO)
    online = SCENARIO.replace("\n  - {name: batch", "\n  # {name: batch")
    (tmp_path / "online.yaml").write_text(online)
    metrics = [GAP, "ttft_s.mean@chat", "throughput_tok_s@chat"]
    observed = simulated(path, "x", ["policy.batcher={hygen: {stage: observe}}"], metrics, [1], jobs=1)(None)
    alone = simulated(tmp_path / "online.yaml", "x", ["policy.batcher={sarathi: {chunk_tokens: 512}}"], metrics, [1], jobs=1)(None)
    # vLLM looks for work once a millisecond while it may do none of what waits (IDLE_POLL_S), so a request can start so much later
    assert [alone[metric] for metric in metrics] == [pytest.approx(observed[metric], rel=5e-3, abs=1.1e-3) for metric in metrics]
