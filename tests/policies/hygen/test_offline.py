"""The order of offline work."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.hygen.offline import OfflineQueue
from policies.views import Request


def request(id: int, blocks: tuple[int, ...] = (), arrival_s: float | None = None) -> Request:
    return Request(id=id, arrival_s=float(id) if arrival_s is None else arrival_s, prefix_blocks=blocks)


def test_pure_sharing_walks_the_trie_depth_first() -> None:
    queue = OfflineQueue(sharing=1)
    for one in (request(0, (1, 2)), request(1, (5,)), request(2, (1, 3)), request(3, (1, 2, 9)), request(4, (5, 1))):
        queue.add(one)
    assert [queue.pick() for _ in range(5)] == [0, 3, 2, 1, 4]


def test_no_sharing_is_first_come_first_served() -> None:
    queue = OfflineQueue(sharing=0)
    for id, blocks in enumerate([(9,), (1,), (9, 1), (1, 1)]):
        queue.add(request(id, blocks))
    assert [queue.pick() for _ in range(4)] == [0, 1, 2, 3]


def test_with_a_half_every_other_pick_is_the_oldest() -> None:
    queue = OfflineQueue(sharing=0.5)
    for id, blocks in enumerate([(9,), (8,), (1,), (2,)]):
        queue.add(request(id, blocks))
    assert [queue.pick() for _ in range(4)] == [2, 0, 3, 1]


blocks = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@given(st.lists(blocks, min_size=1, max_size=30), st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]))
def test_peeking_tells_the_picks_and_every_request_is_picked_once(prompts: list[tuple[int, ...]], sharing: float) -> None:
    queue = OfflineQueue(sharing=sharing)
    for id, prompt in enumerate(prompts):
        queue.add(request(id, prompt))
    foreseen = list(queue.peek())
    assert [queue.pick() for _ in prompts] == foreseen
    assert sorted(foreseen) == list(range(len(prompts)))
    assert len(queue) == 0


@given(st.lists(blocks, min_size=1, max_size=12), st.lists(blocks, min_size=80, max_size=80), st.sampled_from([0.0, 0.5, 0.8]))
def test_no_one_starves_while_others_keep_arriving(
    first: list[tuple[int, ...]], later: list[tuple[int, ...]], sharing: float
) -> None:
    queue = OfflineQueue(sharing=sharing)
    for id, prompt in enumerate(first):
        queue.add(request(id, prompt))
    last = len(first) - 1
    bound = math.ceil((last + 1) / (1 - sharing) - 1e-9)
    picked = []
    for id, prompt in enumerate(later[:bound], start=len(first)):
        queue.add(request(id, (0, *prompt)))
        picked.append(queue.pick())
    assert last in picked


def test_whoever_left_is_not_picked_and_adding_twice_is_adding_once() -> None:
    queue = OfflineQueue()
    for _ in range(2):
        queue.add(request(1))
        queue.add(request(2))
    queue.remove(1)
    queue.remove(7)
    assert (len(queue), 1 in queue, queue.pick()) == (1, False, 2)
    with pytest.raises(IndexError):
        queue.pick()
