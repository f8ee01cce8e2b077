"""The baseline routers: one decision each, worked out by hand, and the distribution of the random ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

import pytest

from policies.decisions import Assign, Hold
from policies.routers import VLLM, JoinShortestQueue, LeastLoaded, LMetric, PowerOfTwo, PrefixAffinity, Random, RoundRobin
from policies.views import Engine, Fleet, Request


def fleet(*engines: Engine) -> Fleet:
    return Fleet(engines)


def chosen(router, view: Fleet, requests: int, model: str = "m") -> list[str]:
    return [router.route(Request(id=i, model=model), view).engine for i in range(requests)]


# --- round robin ------------------------------------------------------------------------------------------------------


def test_round_robin_takes_the_engines_in_turn():
    assert chosen(RoundRobin(), Fleet.at_rest(3), 7) == ["e0", "e1", "e2", "e0", "e1", "e2", "e0"]


def test_round_robin_keeps_a_turn_per_model_and_skips_engines_of_others():
    view = fleet(Engine("a", "x"), Engine("b", "y"), Engine("c", "x"))
    router = RoundRobin()
    order = [router.route(Request(id=i, model=model), view).engine for i, model in enumerate("xyxyx")]
    assert order == ["a", "b", "c", "b", "a"]


def test_round_robin_goes_on_from_its_position_when_engines_leave():
    router = RoundRobin()
    assert chosen(router, Fleet.at_rest(4), 3) == ["e0", "e1", "e2"]
    assert chosen(router, Fleet.at_rest(2), 2) == ["e1", "e0"]


def test_round_robin_keeps_a_turn_per_phase_where_prefill_and_decode_are_apart():
    router = RoundRobin()
    prefill, decode = fleet(Engine("p0"), Engine("p1")), fleet(Engine("d0"), Engine("d1"), Engine("d2"))
    order = []
    for i in range(4):
        order += [router.route(Request(id=i), prefill).engine, router.route(Request(id=i, kv_engine="p0"), decode).engine]
    assert order == ["p0", "d0", "p1", "d1", "p0", "d2", "p1", "d0"]


# --- random and power of two ------------------------------------------------------------------------------------------


def test_random_spreads_evenly_over_the_models_engines():
    mixed = Fleet([Engine(f"e{i}", model="x" if i % 4 == 0 else "m") for i in range(20)])
    counts = Counter(chosen(Random(seed=1), mixed, 15_000))
    assert len(counts) == 15
    chi_square = sum((n - 1000) ** 2 / 1000 for n in counts.values())
    assert chi_square < 36.1  # 99.9 % point for 14 degrees of freedom; the draws are fixed by the seed


def test_random_finds_the_one_engine_of_a_rare_model_uniformly():
    rare = Fleet([Engine(f"e{i}", model="x" if i in (100, 200) else "m") for i in range(300)])
    counts = Counter(chosen(Random(seed=1), rare, 4000, model="x"))
    assert set(counts) == {"e100", "e200"}
    assert abs(counts["e100"] - 2000) < 4 * 1000**0.5


def test_a_draw_belongs_to_the_request_not_to_the_call():
    view = Fleet.at_rest(50)
    alone = Random(seed=7).route(Request(id=41), view)
    router = Random(seed=7)
    for i in range(40):
        router.route(Request(id=i), view)
    assert router.route(Request(id=41), view) == alone
    assert chosen(Random(seed=7), view, 20) != chosen(Random(seed=8), view, 20)


def test_power_of_two_takes_the_less_loaded_of_two_and_tells_both_loads():
    view = Fleet([Engine(f"e{i}", running_count=i, waiting_count=1) for i in range(10)])
    router = PowerOfTwo(seed=2)
    for i in range(200):
        decision = router.route(Request(id=i), view)
        seen = {n: s for n, s in enumerate(decision.scores) if s != inf}
        assert len(seen) == 2
        assert seen == {n: n + 1 for n in seen}
        assert decision.engine == f"e{min(seen)}"


def test_power_of_two_draws_every_pair_equally_often():
    view = Fleet.at_rest(6)
    router = PowerOfTwo(seed=3)
    pairs = Counter(tuple(n for n, s in enumerate(router.route(Request(id=i), view).scores) if s == 0) for i in range(15_000))
    assert len(pairs) == 15
    assert sum((n - 1000) ** 2 / 1000 for n in pairs.values()) < 36.1  # as above


def test_power_of_two_does_not_favour_an_engine_among_equals():
    counts = Counter(chosen(PowerOfTwo(seed=4), Fleet.at_rest(4), 4000))
    assert all(abs(n - 1000) < 4 * 750**0.5 for n in counts.values())


def test_power_of_two_compares_all_when_there_are_fewer_than_choices():
    view = fleet(Engine("a", running_count=3), Engine("b", running_count=1), Engine("c", model="x"))
    decision = PowerOfTwo(choices=4, seed=0).route(Request(), view)
    assert decision.engine == "b"
    assert decision.scores == (3, 1, inf)


def test_power_of_two_balances_much_better_than_random():
    def longest_queue(router):
        engines = [Engine(f"e{i}") for i in range(100)]
        for i in range(10_000):
            chosen = int(router.route(Request(id=i), Fleet(engines)).engine[1:])
            engines[chosen] = replace(engines[chosen], waiting_count=engines[chosen].waiting_count + 1)
        return max(e.waiting_count for e in engines) - 100

    assert longest_queue(PowerOfTwo(seed=5)) <= 4  # log log n / log 2 + O(1)
    assert longest_queue(Random(seed=5)) >= 15  # sqrt(2 · 100 · log 100) is about 30


@pytest.mark.parametrize("choices", [0, 17])
def test_power_of_two_refuses_an_impossible_number_of_choices(choices):
    with pytest.raises(ValueError, match="draw 1 to 16"):
        PowerOfTwo(choices=choices, seed=0)


# --- load -------------------------------------------------------------------------------------------------------------


def test_least_loaded_counts_running_and_waiting_alike():
    view = fleet(Engine("a", running_count=5), Engine("b", running_count=1, waiting_count=3), Engine("c", waiting_count=9))
    decision = LeastLoaded().route(Request(), view)
    assert decision == Assign("b", "fewest unfinished requests", (5, 4, 9))


def test_vllms_balancer_counts_a_waiting_request_four_times():
    view = fleet(Engine("a", running_count=5), Engine("b", running_count=1, waiting_count=3), Engine("c", waiting_count=9))
    decision = VLLM().route(Request(), view)
    assert (decision.engine, decision.scores) == ("a", (5, 13, 36))


def test_shortest_queue_counts_prefill_tokens_and_then_running_requests():
    view = fleet(
        Engine("a", pending_prefill_tokens=900, running_count=0),
        Engine("b", pending_prefill_tokens=100, running_count=40),
        Engine("c", pending_prefill_tokens=100, running_count=30),
        Engine("d", pending_prefill_tokens=101, running_count=0),
    )
    assert JoinShortestQueue().route(Request(), view).engine == "c"


@pytest.mark.parametrize("router", [LeastLoaded(), VLLM(), JoinShortestQueue(), LMetric(), PrefixAffinity()])
def test_equal_engines_are_taken_in_the_views_order(router):
    view = fleet(Engine("z"), Engine("a"), Engine("m"))
    assert router.route(Request(), view).engine == "z"


@pytest.mark.parametrize("router", [LeastLoaded(), VLLM(), JoinShortestQueue(), LMetric(), PrefixAffinity(), RoundRobin()])
def test_an_idle_engine_of_another_model_is_no_candidate(router):
    view = fleet(Engine("other", model="x"), Engine("busy", running_count=100, pending_prefill_tokens=9999))
    assert router.route(Request(), view).engine == "busy"


def test_the_reason_for_holding_names_the_model():
    assert LeastLoaded().route(Request(model="llama"), Fleet.at_rest(3)) == Hold("no active engine serves llama")


# --- LMetric ----------------------------------------------------------------------------------------------------------


def test_lmetric_multiplies_prefill_tokens_by_the_batch_with_the_request_in_it():
    view = fleet(
        Engine("a", pending_prefill_tokens=0, running_count=9),  # 1000 × 10
        Engine("b", pending_prefill_tokens=3000, running_count=1),  # 4000 × 2
        Engine("c", pending_prefill_tokens=500, running_count=4, waiting_count=1),  # 1500 × 6
    )
    decision = LMetric().route(Request(prompt_tokens=1000), view)
    assert decision == Assign("b", "smallest prefill tokens × batch size", (10_000, 8_000, 9_000))


def test_lmetric_trades_a_prefix_hit_against_the_batch():
    router = LMetric()
    first = Request(prompt_tokens=1000, prefix_blocks=(1, 2, 3, 4))
    assert router.route(first, fleet(Engine("a"), Engine("b"))).engine == "a"
    second = Request(id=1, prompt_tokens=1000, prefix_blocks=(1, 2, 3, 9))  # 250 tokens are new on a, 1000 on b
    assert router.route(second, fleet(Engine("a", running_count=2), Engine("b"))).scores == (750, 1000)
    third = Request(id=2, prompt_tokens=1000, prefix_blocks=(1, 2, 3, 8))
    assert router.route(third, fleet(Engine("a", running_count=4), Engine("b"))).engine == "b"


# --- prefix affinity --------------------------------------------------------------------------------------------------


def affine(**params) -> PrefixAffinity:
    """A router that has sent the prompt 1-2-3-4 to engine a."""
    router = PrefixAffinity(**params)
    router.route(Request(prompt_tokens=1000, prefix_blocks=(1, 2, 3, 4)), fleet(Engine("a"), Engine("b", running_count=1)))
    return router


FOLLOW_UP = Request(id=1, prompt_tokens=1250, prefix_blocks=(1, 2, 3, 4, 5))


def test_prefix_affinity_stays_with_the_longest_match():
    decision = affine().route(FOLLOW_UP, fleet(Engine("a", running_count=6), Engine("b")))
    assert (decision.engine, decision.reason) == ("a", "longest prefix match")
    assert decision.scores[0] == pytest.approx(250, abs=0.01)


def test_prefix_affinity_leaves_an_overloaded_engine_for_the_least_loaded():
    view = fleet(Engine("a", running_count=40), Engine("b", running_count=10), Engine("c", running_count=4))  # mean 18, limit 27
    decision = affine().route(FOLLOW_UP, view)
    assert (decision.engine, decision.scores) == ("c", (40, 10, 4))


def test_prefix_affinity_needs_both_the_multiple_and_the_slack_to_call_an_engine_overloaded():
    few = fleet(Engine("a", running_count=6), Engine("b"), Engine("c"))  # 3 × the mean, 4 above it
    assert affine().route(FOLLOW_UP, few).engine == "a"
    many = fleet(Engine("a", running_count=120), Engine("b", running_count=100))  # 10 above the mean, 1.09 × it
    assert affine().route(FOLLOW_UP, many).engine == "a"
    assert affine(slack=1).route(FOLLOW_UP, few).engine == "b"


def test_prefix_affinity_ignores_a_match_that_is_too_short():
    short = Request(id=1, prompt_tokens=1250, prefix_blocks=(1, 2, 7, 8, 9))  # two fifths match
    view = fleet(Engine("a", running_count=2), Engine("b"))
    assert affine().route(short, view).engine == "b"
    assert affine(min_match=0.4).route(short, view).engine == "a"


def test_prefix_affinity_follows_a_copied_prefix_to_the_less_loaded_of_its_holders():
    router = affine()
    router.route(FOLLOW_UP, fleet(Engine("a", running_count=40), Engine("b", running_count=0)))  # copies the prefix to b
    branch = Request(id=2, prompt_tokens=1250, prefix_blocks=(1, 2, 3, 4, 6))
    decision = router.route(branch, fleet(Engine("a", running_count=5), Engine("b", running_count=3), Engine("c")))
    assert (decision.engine, decision.reason) == ("b", "longest prefix match")


@pytest.mark.parametrize(
    ("params", "says"), [({"min_match": 1.2}, "share"), ({"overload": 0.9}, "multiple"), ({"slack": -1}, "number")]
)
def test_prefix_affinity_refuses_impossible_parameters(params, says):
    with pytest.raises(ValueError, match=says):
        PrefixAffinity(**params)


# --- scores -----------------------------------------------------------------------------------------------------------


def test_named_scores_tell_the_considered_engines_by_id():
    view = fleet(Engine("a", running_count=2), Engine("b", model="x"), Engine("c", running_count=1))
    assert LeastLoaded().route(Request(), view).named_scores(view.engines) == {"a": 2, "c": 1}
    assert RoundRobin().route(Request(), view).named_scores(view.engines) == {}
