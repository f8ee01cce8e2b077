"""The prefix index: chains counted by hand, and against a plain model that keeps whole lists."""

from __future__ import annotations

import pickle

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.prefixes import PrefixIndex
from policies.types import Role
from policies.views import Engine, Request


def prompt(*blocks: int, block_tokens: int = 100) -> Request:
    return Request(prompt_tokens=len(blocks) * block_tokens, prefix_blocks=blocks)


def send(index: PrefixIndex, request: Request, engine: Engine, *others: str) -> None:
    """The prompt goes to ``engine``; ``others`` are in view too."""
    index.record(request, engine, (engine, *map(Engine, others)))


def test_an_empty_index_and_a_prompt_without_blocks_hit_nothing():
    index = PrefixIndex()
    assert index.hits(prompt(1, 2)) == {}
    send(index, prompt(), Engine("a"))
    assert index.hits(prompt()) == {}


def test_a_hit_is_the_chain_from_the_start_and_ends_at_the_first_unknown_block():
    index = PrefixIndex()
    send(index, prompt(1, 2, 3), Engine("a"))
    send(index, prompt(1, 9), Engine("b"), "a")
    assert index.hits(prompt(1, 2, 7, 3)) == {"a": 200, "b": 100}
    assert index.hits(prompt(2, 3)) == {"a": 199}
    assert index.hits(prompt(7, 1, 2)) == {}


def test_the_last_token_of_a_known_prompt_is_still_computed():
    index = PrefixIndex()
    send(index, prompt(1, 2), Engine("a"))
    assert index.hits(prompt(1, 2)) == {"a": 199}


def test_a_block_counts_as_its_share_of_the_prompt():
    index = PrefixIndex()
    send(index, prompt(1, 2, 3), Engine("a"))
    assert index.hits(Request(prompt_tokens=1100, prefix_blocks=(1, 2, 8))) == {"a": 733}  # 2/3 of 1100


def test_the_least_recently_sent_prompt_is_forgotten_beyond_the_kv_capacity_from_its_tail():
    index, engine = PrefixIndex(), Engine("a", kv_tokens_capacity=400)
    send(index, prompt(1, 2), engine)
    send(index, prompt(3, 4), engine)
    send(index, prompt(1, 2), engine)
    send(index, prompt(5), engine)  # 500 tokens in all: block 4 goes
    assert index.hits(prompt(3, 4)) == {"a": 100}
    assert index.hits(prompt(1, 2)) == {"a": 199}


def test_of_a_prompt_larger_than_the_kv_memory_the_start_is_remembered():
    index = PrefixIndex()
    send(index, prompt(1, 2, 3, 4), Engine("a", kv_tokens_capacity=250))
    assert index.hits(prompt(1, 2, 3, 4)) == {"a": 200}


def test_engines_are_bounded_one_by_one():
    index = PrefixIndex()
    send(index, prompt(1, 2), Engine("small", kv_tokens_capacity=100))
    send(index, prompt(1, 2), Engine("large", kv_tokens_capacity=1000), "small")
    assert index.hits(prompt(1, 2)) == {"small": 100, "large": 199}


def test_its_size_stays_bounded_however_many_prompts_it_sees():
    index, engine = PrefixIndex(), Engine("a", kv_tokens_capacity=10_000)
    sizes = []
    for first in range(0, 30_000, 3):
        send(index, prompt(first, first + 1, first + 2), engine)
        sizes.append(len(pickle.dumps(index)))
    assert max(sizes) < 1.2 * sizes[100]


def test_engines_that_left_are_forgotten_when_a_new_one_comes():
    index = PrefixIndex()
    send(index, prompt(1, 2), Engine("a"), "b")
    send(index, prompt(1, 9), Engine("b"), "a")
    assert index.hits(prompt(1, 2, 3)) == {"a": 200, "b": 100}
    send(index, prompt(7), Engine("c"), "b")  # a is gone
    assert index.hits(prompt(1, 2, 3)) == {"b": 100}
    send(index, prompt(1, 2), Engine("a"), "b", "c")  # it comes back, empty
    assert index.hits(prompt(1, 2, 3)) == {"a": 200, "b": 100}


def test_engines_of_another_role_are_only_out_of_this_view():
    index = PrefixIndex()
    send(index, prompt(1, 2), Engine("p", role=Role.PREFILL))
    send(index, prompt(1, 2), Engine("d", role=Role.DECODE))
    assert index.hits(prompt(1, 2, 3)) == {"p": 200, "d": 200}


def test_its_size_stays_bounded_however_many_engines_come_and_go():
    index, sizes = PrefixIndex(), []
    for number in range(500):
        send(index, prompt(number, number + 1), Engine(f"e{number}"))
        sizes.append(len(pickle.dumps(index)))
    assert max(sizes) < 1.2 * sizes[10]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 5), max_size=5, unique=True)),
        max_size=40,
    ),
    st.lists(st.integers(0, 5), max_size=5, unique=True),
)
@settings(max_examples=200, deadline=None)
def test_it_agrees_with_a_plain_lru_list_per_engine(history, asked):
    index = PrefixIndex()
    plain: dict[str, list[int]] = {}  # most recently used last
    for name, blocks in history:
        send(index, prompt(*blocks), Engine(name, kv_tokens_capacity=600), *"abc")
        kept = plain.setdefault(name, [])
        for block in reversed(blocks):
            if block in kept:
                kept.remove(block)
            kept.append(block)
        del kept[:-6]
    expected = {}
    for name, kept in plain.items():
        depth = next((i for i, block in enumerate(asked) if block not in kept), len(asked))
        tokens = depth * 100 if depth < len(asked) else depth * 100 - 1
        if tokens > 0:
            expected[name] = tokens
    assert index.hits(prompt(*asked)) == expected
