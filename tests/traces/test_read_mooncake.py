"""Mooncake and Qwen-Bailian: prefix blocks, ticks, sessions."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces.errors import InputError
from traces.readers import read
from traces.readers.mooncake import first_of_chain
from traces.readers.ticks import spread, tick_of
from traces.workload import Workload


def write(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def request(ms: float, prompt: int = 1000, ids: list[int] | None = None, **more: object) -> dict:
    return {"timestamp": ms, "input_length": prompt, "output_length": 7, **({} if ids is None else {"hash_ids": ids}), **more}


def lru_hit_fraction(workload: Workload, capacity: float) -> float:
    """Share of blocks that an LRU cache of ``capacity`` blocks holds when asked for, each request up to its first miss."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for i in range(len(workload)):
        ids = workload.blocks_of(i).tolist()
        matching = True
        for block in ids:
            matching = matching and block in cache
            hits += matching
        for block in ids:
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > capacity:
            cache.popitem(last=False)
    assert workload.block_ids is not None
    return hits / len(workload.block_ids)


def test_milliseconds_blocks_and_lengths_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", request(0, 1000, [4, 5]), request(27482, 1025, [4, 5, 9]), request(30535, 3, [7]))
    workload = read(path)
    assert workload.arrival_s.tolist() == [0, 27.482, 30.535]
    assert workload.prompt_tokens.tolist() == [1000, 1025, 3]
    assert [workload.blocks_of(i).tolist() for i in range(3)] == [[4, 5], [4, 5, 9], [7]]
    assert workload.block_tokens == 512


def test_time_counts_from_the_first_request(tmp_path: Path) -> None:
    assert read(write(tmp_path / "m.jsonl", request(600_000), request(600_250))).arrival_s.tolist() == [0, 0.25]


def test_a_trace_without_hash_ids_has_no_blocks(tmp_path: Path) -> None:
    workload = read(write(tmp_path / "m.jsonl", request(0), request(1)))
    assert (workload.block_ids, workload.block_tokens) == (None, 0)


def test_requests_without_hash_ids_stand_among_others(tmp_path: Path) -> None:
    workload = read(write(tmp_path / "m.jsonl", request(0, 5), request(1, 600, [3, 4]), request(2, 5)))
    assert [workload.blocks_of(i).tolist() for i in range(3)] == [[], [3, 4], []]


def test_hashes_that_need_64_bits_stay_distinct(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", request(0, 1000, [2**64 - 1, 3]), request(1, 1000, [2**63, 3]))
    first, second = (read(path).blocks_of(i) for i in range(2))
    assert first.dtype == np.int64
    assert first[0] != second[0]
    assert first[1] == second[1]


def test_sixteen_token_blocks_are_noticed_and_a_misfit_is_refused(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.jsonl", request(0, 33, [1, 2, 3]))).block_tokens == 16
    odd = write(tmp_path / "b.jsonl", request(0, 1000, [1, 2, 3, 4, 5]))
    with pytest.raises(InputError, match=r"neither 512 nor 16 tokens \(5 ids, 1,000 tokens\); give block_tokens"):
        read(odd)
    assert read(odd, block_tokens=200).block_tokens == 200


def test_a_first_request_of_a_million_tokens_does_not_hide_the_format(tmp_path: Path) -> None:
    workload = read(write(tmp_path / "q.jsonl", request(0, 10**6, list(range(62_500)), chat_id=1), request(1, 16, [0], chat_id=2)))
    assert [len(workload.blocks_of(i)) for i in range(2)] == [62_500, 1]


def test_failed_requests_take_their_blocks_with_them(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", request(0, 5, [1]), {**request(1, 5, [2]), "output_length": 0}, request(2, 5, [3]))
    workload = read(path)
    assert [workload.blocks_of(i).tolist() for i in range(len(workload))] == [[1], [3]]


def test_sorting_moves_blocks_with_their_requests(tmp_path: Path) -> None:
    workload = read(write(tmp_path / "m.jsonl", request(9, 600, [1, 2]), request(5, 5, [3])), sort=True)
    assert [workload.blocks_of(i).tolist() for i in range(2)] == [[3], [1, 2]]


def test_qwen_bailian_is_in_seconds_with_sessions_by_root_chat(tmp_path: Path) -> None:
    def chat(at: float, chat_id: int, parent: int, ids: list[int]) -> dict:
        return request(at, 33, ids, chat_id=chat_id, parent_chat_id=parent, turn=1, type="text")

    path = write(
        tmp_path / "q.jsonl",
        chat(1, 50, -1, [1, 2, 3]),
        chat(61.114, 51, -1, [9, 8, 7]),
        chat(70.0, 60, 50, [1, 2, 4]),
        chat(80, 61, 60, [1, 2, 5]),
    )
    workload = read(path)
    assert workload.arrival_s.tolist() == pytest.approx([0, 60.114, 69, 79])
    assert workload.block_tokens == 16
    assert workload.session is not None
    assert workload.session.tolist() == [50, 51, 50, 50]
    assert "Qwen-Bailian records: timestamps are seconds" in workload.source["notes"]


def test_chains_of_parents_end_at_their_root_even_in_a_cycle() -> None:
    chat = np.arange(10, 17)
    parent = np.array([-1, 10, 11, 999, 15, 16, 14])  # 10 ← 11 ← 12; 13's parent is elsewhere; 14 → 15 → 16 → 14
    assert first_of_chain(chat, parent)[:4].tolist() == [10, 10, 10, 13]


TICKS = [request(tick * 3000 + tick % 2, 1000, [0, i]) for tick in range(6) for i in range(4)]


def test_arrivals_on_ticks_are_noted(tmp_path: Path) -> None:
    workload = read(write(tmp_path / "m.jsonl", *TICKS))
    assert workload.arrival_s[3:5].tolist() == [0, 3.001]
    assert any(note.startswith("arrivals sit on 3-second ticks") for note in workload.source["notes"])


def test_jitter_spreads_arrivals_inside_their_tick_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", *TICKS)
    plain, spread_out, again, other = read(path), read(path, jitter=True), read(path, jitter=True), read(path, jitter=True, seed=1)
    offset = spread_out.arrival_s - plain.arrival_s
    assert (offset >= 0).all()
    assert (offset < 3.001).all()
    assert len(np.unique(spread_out.arrival_s)) == len(TICKS)
    assert (np.diff(spread_out.arrival_s) >= 0).all()
    assert np.array_equal(spread_out.arrival_s, again.arrival_s)
    assert not np.array_equal(spread_out.arrival_s, other.arrival_s)
    assert spread_out.source["notes"] == ["jitter inside 3-second ticks on, seed 0"]


def test_jitter_on_a_trace_without_ticks_changes_nothing_and_says_so(tmp_path: Path) -> None:
    workload = read(write(tmp_path / "m.jsonl", *(request(at) for at in (0, 40, 277, 471, 529, 639))), jitter=True)
    assert workload.arrival_s.tolist() == [0, 0.04, 0.277, 0.471, 0.529, 0.639]
    assert workload.source["notes"] == ["jitter not applied: arrivals do not sit on ticks"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 5))
def test_spreading_keeps_order_and_stays_in_the_tick(ticks: list[int], seed: int) -> None:
    arrival = np.sort(np.array(ticks)) * 3.0
    moved = spread(arrival, 3.0, np.random.default_rng(seed))
    assert (np.diff(moved) >= 0).all()
    assert (moved >= arrival).all()
    assert (moved - arrival <= 3.0).all()


def test_poisson_arrivals_do_not_sit_on_ticks() -> None:
    assert tick_of(np.cumsum(np.random.default_rng(1).exponential(1.0, 2000))) is None


def test_the_published_slice_has_the_known_statistics_and_prefix_hits(shared_data: Path) -> None:
    facts = json.loads((shared_data / "facts.json").read_text())["mooncake_conversation"]
    workload = read(shared_data / "traces" / "mooncake" / facts["file"])
    assert (len(workload), workload.duration_s) == (facts["rows"], facts["duration_s"])
    for column, expected in ((workload.prompt_tokens, facts["input_tokens"]), (workload.output_tokens, facts["output_tokens"])):
        assert {q: float(np.quantile(column, float(q) / 100)) for q in expected["quantiles"]} == pytest.approx(
            expected["quantiles"]
        )
    prefix = facts["prefix"]
    assert workload.block_ids is not None
    assert workload.block_tokens == prefix["block_tokens"]
    assert len(workload.block_ids) == prefix["blocks_total"]
    assert len(np.unique(workload.block_ids)) == prefix["blocks_unique"]
    curve = prefix["lru_block_hit_frac_by_capacity_blocks"]
    assert {capacity: lru_hit_fraction(workload, float(capacity)) for capacity in curve} == pytest.approx(curve, rel=1e-12)
    assert tick_of(workload.arrival_s) == 3.0
    assert workload.source["licence"] == "Apache-2.0"
