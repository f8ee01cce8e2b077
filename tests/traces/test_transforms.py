"""Transforms: what they keep, what they change, and that they say so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.types import SLO
from traces.errors import InputError
from traces.inspect import prefix_hits
from traces.synthesis import builtin
from traces.transforms import assign_mix, head, jitter_ticks, rescale_rate, slice_time, superpose, thin, with_class
from traces.workload import RequestClass, Workload

CHAT = RequestClass("chat", tier="gold", slo=SLO(ttft_s=0.5))
BATCH = RequestClass("batch", tier="bronze", offline=True)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Up to 30 requests, ties in time included; prompts are distinct, so that rows can be told apart."""
    gaps = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 7.5]), min_size=1, max_size=30))
    n = len(gaps)
    first = draw(st.integers(1, 10_000))
    blocks = draw(st.one_of(st.none(), st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    prefix = {}
    if blocks is not None:
        ids = [draw(st.integers(0, 6)) for _ in range(sum(blocks))]
        prefix = {
            "block_offsets": np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64),
            "block_ids": np.asarray(ids, np.int64),
            "block_tokens": 16,
            "session": np.asarray([draw(st.integers(-1, 3)) for _ in range(n)], np.int64),
        }
    klass = draw(st.sampled_from([CHAT, BATCH]))
    return Workload.make(np.cumsum(gaps), np.arange(first, first + n), np.arange(1, n + 1), classes=(klass,), **prefix)


def rows(workload: Workload) -> list[tuple[int, int, str]]:
    names = [c.name for c in workload.classes]
    return list(
        zip(workload.prompt_tokens.tolist(), workload.output_tokens.tolist(), [names[k] for k in workload.klass], strict=True)
    )


def is_sorted(workload: Workload) -> bool:
    return bool((np.diff(workload.arrival_s) >= 0).all())


@given(workloads(), st.floats(0, 60), st.floats(0.1, 60))
@settings(deadline=None)
def test_a_slice_holds_exactly_what_arrives_in_it_counted_from_its_start(w: Workload, start: float, length: float) -> None:
    inside = (w.arrival_s >= start) & (w.arrival_s < start + length)
    if not inside.any():
        with pytest.raises(InputError, match="no request arrives from"):
            slice_time(w, start, start + length)
        return
    cut = slice_time(w, start, start + length)
    assert rows(cut) == rows(w.take(inside))
    np.testing.assert_allclose(cut.arrival_s, w.arrival_s[inside] - start)
    assert len(cut.source["notes"]) == 1


def test_slices_side_by_side_hold_every_request_once() -> None:
    w = builtin("azure-2023-conv", seed=1, requests=500)
    parts = [slice_time(w, 0, 20), slice_time(w, 20, 50), slice_time(w, 50, float("inf"))]
    assert sum(map(len, parts)) == 500
    assert parts[2].source["notes"] == ["only arrivals from 50 s on"]


@given(workloads(), st.integers(1, 40))
@settings(deadline=None)
def test_the_head_is_the_first_requests(w: Workload, n: int) -> None:
    assert rows(head(w, n)) == rows(w)[:n]
    assert bool(head(w, n).source) == (n < len(w))


@given(workloads(), st.floats(1e-3, 1e4))
@settings(deadline=None)
def test_a_rescaled_workload_has_the_rate_and_the_same_requests_stretched(w: Workload, rate: float) -> None:
    if w.duration_s == 0:
        with pytest.raises(InputError, match="leave `rate` out"):
            rescale_rate(w, rate)
        return
    scaled = rescale_rate(w, rate)
    assert scaled.mean_rate == pytest.approx(rate, rel=1e-9)
    assert rows(scaled) == rows(w)
    np.testing.assert_allclose(scaled.arrival_s * w.duration_s, w.arrival_s * scaled.duration_s, rtol=1e-9)
    assert is_sorted(scaled)


@given(workloads(), st.floats(0.05, 1), st.floats(0.05, 1), st.integers(0, 99))
@settings(deadline=None)
def test_thinning_keeps_a_subset_in_order_and_a_harder_one_a_subset_of_it(w: Workload, one: float, two: float, seed: int) -> None:
    few, many = sorted((one, two))
    try:
        more = rows(thin(w, many, seed))
        fewer = rows(thin(w, few, seed))
    except InputError as error:
        assert "leaves none" in str(error)  # noqa: PT017
        return
    assert set(fewer) <= set(more) <= set(rows(w))
    assert more == [row for row in rows(w) if row in set(more)]


def test_thinning_keeps_the_share_asked_for() -> None:
    w = builtin("azure-2023-conv", seed=1, requests=20_000)
    assert len(thin(w, 0.3, 5)) == pytest.approx(6000, abs=4 * np.sqrt(20_000 * 0.21))
    assert len(thin(w, 1.0, 5)) == 20_000


@given(st.lists(workloads(), min_size=1, max_size=4))
@settings(deadline=None)
def test_a_superposition_holds_every_request_of_every_part_by_arrival(parts: list[Workload]) -> None:
    joined = superpose(parts)
    assert is_sorted(joined)
    assert sorted(rows(joined)) == sorted(row for w in parts for row in rows(w))
    assert len(set(joined.classes)) == len(joined.classes)
    if len(parts) > 1:
        assert [dict(w.source) for w in parts] == joined.source["parts"]


@given(st.lists(workloads(), min_size=2, max_size=4))
@settings(deadline=None)
def test_superposed_workloads_share_no_prefix_and_no_session_with_each_other(parts: list[Workload]) -> None:
    joined = superpose(parts)
    assert prefix_hits(joined).sum() == sum(prefix_hits(w).sum() for w in parts)
    sessions = [set(w.session[w.session >= 0].tolist()) for w in parts if w.session is not None]
    if sessions:
        assert joined.session is not None
        assert len(set(joined.session[joined.session >= 0].tolist())) == sum(map(len, sessions))


def test_superposition_merges_equal_classes_only() -> None:
    w = Workload.make([0.0, 1.0], [1, 2], [1, 1], classes=(CHAT,))
    other = Workload.make([0.5], [3], [1], classes=(BATCH,))
    joined = superpose([w, other, w])
    assert joined.classes == (CHAT, BATCH)
    assert joined.prompt_tokens.tolist() == [1, 1, 3, 2, 2]
    assert joined.klass.tolist() == [0, 0, 1, 0, 0]


def test_superposition_refuses_blocks_of_different_sizes() -> None:
    blocks = {"block_offsets": np.array([0, 1]), "block_ids": np.array([4])}
    a, b = (Workload.make([0.0], [5], [1], block_tokens=size, source={"name": f"w{size}"}, **blocks) for size in (16, 512))
    with pytest.raises(InputError, match="16 tokens in w16, 512 tokens in w512"):
        superpose([a, b])
    with pytest.raises(InputError, match="give at least one"):
        superpose([])


@given(workloads())
@settings(deadline=None)
def test_one_class_for_all(w: Workload) -> None:
    labelled = with_class(w, BATCH)
    assert labelled.classes == (BATCH,)
    assert not labelled.klass.any()
    assert labelled.prompt_tokens is w.prompt_tokens


def test_a_mix_is_drawn_by_weight_independently_of_lengths() -> None:
    w = builtin("azure-2023-conv", seed=1, requests=20_000)
    mixed = assign_mix(w, [(CHAT, 3), (BATCH, 1), (RequestClass("never"), 0)], seed=2)
    shares = np.bincount(mixed.klass, minlength=3) / 20_000
    np.testing.assert_allclose(shares, [0.75, 0.25, 0], atol=0.015)
    assert w.prompt_tokens[mixed.klass == 1].mean() == pytest.approx(w.prompt_tokens.mean(), rel=0.05)
    assert mixed.source["notes"] == ["classes drawn at random (75% chat, 25% batch, 0% never), seed 2"]


def test_long_prompts_are_drawn_among_the_classes_that_take_them() -> None:
    w = builtin("azure-2023-conv", seed=1, requests=20_000)
    mix = [(CHAT, 2), (BATCH, 1), (RequestClass("long"), 1)]
    mixed = assign_mix(w, mix, seed=2, prompts_up_to=[1000, 2000, np.inf])
    short, middle, long = (w.prompt_tokens <= 1000, (w.prompt_tokens > 1000) & (w.prompt_tokens <= 2000), w.prompt_tokens > 2000)
    for some, shares in ((short, [0.5, 0.25, 0.25]), (middle, [0, 0.5, 0.5]), (long, [0, 0, 1])):
        assert some.sum() > 500
        np.testing.assert_allclose(np.bincount(mixed.klass[some], minlength=3) / some.sum(), shares, atol=0.03)
    unlimited = assign_mix(w, mix, seed=2, prompts_up_to=[np.inf] * 3)
    assert (unlimited.klass == assign_mix(w, mix, seed=2).klass).all()
    assert (mixed.klass[short] == unlimited.klass[short]).all()


@given(workloads(), st.floats(0.01, 5), st.integers(0, 99))
@settings(deadline=None)
def test_jitter_keeps_order_and_moves_nobody_out_of_the_tick(w: Workload, tick_s: float, seed: int) -> None:
    spread = jitter_ticks(w, tick_s, seed)
    assert rows(spread) == rows(w)
    assert is_sorted(spread)
    assert (spread.arrival_s >= w.arrival_s).all()
    assert (spread.arrival_s < w.arrival_s + tick_s).all()


def test_jitter_takes_the_ticks_out_of_the_gaps() -> None:
    smooth = builtin("mooncake-conversation", seed=1, requests=4000)
    ticks = np.floor(smooth.arrival_s / 3) * 3
    spread = jitter_ticks(Workload.make(ticks, smooth.prompt_tokens, smooth.output_tokens), 3.0, 1)
    gaps = np.diff(spread.arrival_s)
    assert (np.diff(ticks) == 0).mean() > 0.8
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "transform",
    [lambda w, s: thin(w, 0.5, s), lambda w, s: jitter_ticks(w, 1.0, s), lambda w, s: assign_mix(w, [(CHAT, 1), (BATCH, 1)], s)],
)
def test_seeds_fix_everything(transform: object) -> None:
    w = builtin("azure-2023-conv", seed=1, requests=200)
    once, again, other = (transform(w, seed) for seed in (1, 1, 2))  # type: ignore[operator]
    for column in ("arrival_s", "prompt_tokens", "klass"):
        np.testing.assert_array_equal(getattr(once, column), getattr(again, column))
    assert len(once) != len(other) or any(
        (getattr(once, column) != getattr(other, column)).any() for column in ("arrival_s", "klass")
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda w: head(w, 0), "at least 1"),
        (lambda w: rescale_rate(w, 0.0), "positive number of requests per second"),
        (lambda w: thin(w, 0.0, 1), "above 0 and at most 1"),
        (lambda w: thin(w, 1e-12, 1), "leaves none; keep a larger fraction"),
        (lambda w: assign_mix(w, [], 1), "at least one class of positive weight"),
        (lambda w: assign_mix(w, [(CHAT, 1), (BATCH, -1)], 1), "at least one class of positive weight"),
        (lambda w: jitter_ticks(w, 0.0, 1), "give a positive time"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_with_a_remedy(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        call(builtin("azure-2023-conv", seed=1, requests=10))  # type: ignore[operator]
    assert str(raised.value).startswith("azure-2023-conv: ")
