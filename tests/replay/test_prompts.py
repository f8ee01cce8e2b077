"""Prompts of the traced length with the traced prefix structure."""

from __future__ import annotations

import pytest

from replay.prompts import RESERVED, Prompts
from traces.workload import Workload


def prompts(vocab: int = 1000, seed: int = 7, block: int = 8) -> Prompts:
    return Prompts(Workload.make([0.0], [1], [1], block_tokens=block), vocab, seed)


def test_equal_ids_give_equal_tokens_anywhere() -> None:
    made = prompts()
    a, b = made.of(1, 24, (5, 6)), made.of(2, 20, (6, 5))
    assert len(a) == 24
    assert len(b) == 20
    assert a[:8] == b[8:16]
    assert a[8:16] == b[:8]
    assert a[16:] != b[16:]


def test_a_last_block_may_be_cut_short() -> None:
    made = prompts()
    assert made.of(1, 12, (5, 6)) == made.of(2, 16, (5, 6))[:12]


def test_requests_without_named_blocks_share_nothing() -> None:
    made = prompts()
    seen = {tuple(made.of(request, 16)) for request in range(500)} | {tuple(made.output(request, 16)) for request in range(500)}
    assert len(seen) == 1000


def test_tokens_lie_within_the_vocabulary_and_fill_it() -> None:
    ids = prompts(vocab=RESERVED + 50).of(3, 5000)
    assert set(ids) == set(range(RESERVED, RESERVED + 50))


def test_the_same_seed_gives_the_same_prompts_and_another_does_not() -> None:
    assert prompts(seed=1).of(4, 40, (1, 2)) == prompts(seed=1).of(4, 40, (1, 2))
    assert prompts(seed=1).of(4, 40, (1, 2)) != prompts(seed=2).of(4, 40, (1, 2))


def test_ids_may_be_negative_or_large() -> None:
    made = prompts()
    assert made.of(1, 16, (-1, 2**62)) == made.of(2, 16, (-1, 2**62))


def test_a_vocabulary_of_special_tokens_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves none"):
        prompts(vocab=RESERVED)
