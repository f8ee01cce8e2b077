"""AdaServe as a speculator of chains: what it reads from the views and says of the drafts."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from policies import registry
from policies.adaserve.speculator import AdaServe
from policies.decisions import Drafts, Tree
from policies.protocols import Speculator
from policies.types import SLO
from policies.views import Request
from tests.policies.adaserve.engines import STEEP, decoding_request, engine

SURE, UNSURE = [0.9, 0.9, 0.9, 0.9], [0.5, 0.5, 0.5, 0.5]


def test_it_is_a_speculator_by_name_of_its_class():
    built = registry.build("speculator", "policies.adaserve.speculator:AdaServe", {"budget": 8, "order": "ascending"}, seed=0)
    assert isinstance(built, Speculator)
    assert not hasattr(built, "__dict__")


def test_a_request_behind_schedule_gets_the_tokens_that_bring_it_back():
    """100 ms and 20 ms of this step at 40 ms per token are due 3; it has 1: it needs 2, the root's token and drafts worth one."""
    late, idle = decoding_request(1, tpot_s=0.040, generated=2), decoding_request(2)
    policy = AdaServe(budget=2 + 3, share=10.0)
    selection = policy.select(engine([late, idle], now_s=0.1), Drafts({1: UNSURE, 2: SURE}))
    assert selection.tokens == {1: 3, 2: 0}  # 0.5 + 0.25 + 0.125 < 1: all that the budget has
    relaxed = AdaServe(budget=2 + 3, phases="greedy").select(engine([late, idle], now_s=0.1), Drafts({1: UNSURE, 2: SURE}))
    assert relaxed.tokens == {1: 0, 2: 3}


def test_a_request_ahead_of_schedule_competes_by_probability_alone():
    ahead, idle = decoding_request(1, tpot_s=0.040, generated=10), decoding_request(2)
    selection = AdaServe(budget=2 + 3).select(engine([ahead, idle], now_s=0.1), Drafts({1: UNSURE, 2: SURE}))
    assert selection.tokens == {1: 0, 2: 3}
    assert "0 of them for objectives" in selection.reason


def test_the_time_of_drafting_counts_into_the_step():
    slow = decoding_request(1, tpot_s=0.040, generated=4)
    fast, late = (engine([slow, decoding_request(2)], now_s=0.1, draft_s=draft_s) for draft_s in (0.0, 0.020))
    drafts = Drafts({1: UNSURE, 2: SURE})
    assert AdaServe(budget=2 + 2).select(fast, drafts).tokens == {1: 0, 2: 2}
    assert AdaServe(budget=2 + 2, share=10.0).select(late, drafts).tokens == {1: 2, 2: 0}


def test_with_assurance_a_request_gets_more_than_what_is_enough_on_average():
    """It needs the root's token and half of one: one draft token in expectation; to be sure of it, all of its uncertain chain."""
    late, idle = decoding_request(1, tpot_s=0.040, generated=3), decoding_request(2)
    shown, drafts = engine([late, idle], now_s=0.12), Drafts({1: UNSURE, 2: SURE})
    assert AdaServe(budget=2 + 4, share=10.0).select(shown, drafts).tokens == {1: 1, 2: 3}
    assert AdaServe(budget=2 + 4, share=10.0, assurance=0.95).select(shown, drafts).tokens == {1: 4, 2: 0}
    certain = Drafts({1: [1.0] * 4, 2: SURE})
    sure = [AdaServe(budget=2 + 4, share=10.0, assurance=a).select(shown, certain) for a in (0.5, 0.95)]
    assert sure[0] == sure[1]


def test_a_prompt_in_the_same_step_counts_into_it_where_asked():
    """A prompt of 3,500 tokens makes the step 70 ms long: at 40 ms per token the request needs 1.25 tokens of it, not one."""
    slow = decoding_request(1, tpot_s=0.040, generated=4)
    shown = engine([slow, decoding_request(2)], 0.1, pending_prefill_tokens=3500)
    drafts = Drafts({1: UNSURE, 2: SURE})
    assert AdaServe(budget=2 + 2, share=10.0).select(shown, drafts).tokens == {1: 0, 2: 2}
    assert AdaServe(budget=2 + 2, share=10.0, count_prompts=True).select(shown, drafts).tokens == {1: 1, 2: 1}
    full = replace(shown, max_seqs=2)  # no seat is free: the prompt waits
    assert AdaServe(budget=2 + 2, share=10.0, count_prompts=True).select(full, drafts).tokens == {1: 0, 2: 2}


def waiting_prompt(tokens: int = 4075, ttft_s: float | None = 0.1, *, offline: bool = False, number: int = 9) -> Request:
    return Request(id=number, prompt_tokens=tokens, slo=SLO(ttft_s=ttft_s), offline=offline)


def test_a_first_token_that_drafts_would_make_late_comes_before_the_throughput_phase_where_asked():
    """A step of 4,096 tokens takes 82 ms: a prompt of 4,095 fits in one beside a decode, and takes two with a draft token."""
    shown = engine([decoding_request(1)], waiting=(waiting_prompt(4095),), pending_prefill_tokens=4095)
    drafts = Drafts({1: SURE})
    assert AdaServe(budget=16).select(shown, drafts).tokens == {1: 4}
    assert AdaServe(budget=16, prompts="in-time").select(shown, drafts).tokens == {1: 0}
    assert AdaServe(budget=16, prompts="in-time").shape(shown).tokens == 4
    with_slack = replace(shown, waiting=(waiting_prompt(4095, 0.5),))
    assert AdaServe(budget=16, prompts="in-time").select(with_slack, drafts).tokens == {1: 4}


def test_drafts_leave_to_prompts_no_more_than_first_tokens_take():
    """With a millisecond more for every token, a prompt of 50 is within 100 ms beside 38 draft tokens, and not beside 39."""
    shown = engine(
        [decoding_request(i) for i in range(1, 3)], latency=STEEP, waiting=(waiting_prompt(50),), pending_prefill_tokens=50
    )
    drafts = Drafts({1: [0.9] * 40, 2: [0.9] * 40})
    verified = [
        sum(AdaServe(budget=82, prompts=prompts).select(shown, drafts).tokens.values()) for prompts in ("last", "in-time", "first")
    ]
    assert verified == [80, 30, 80]  # of 0, 10, … 80 tokens, 30 is the most; all prompt tokens fit beside 80
    scarce = replace(shown, token_budget=82)
    assert sum(AdaServe(budget=82, prompts="first").select(scarce, drafts).tokens.values()) == 30


def test_objectives_are_served_before_prompts():
    late = decoding_request(1, tpot_s=0.040, generated=2)
    shown = engine([late], 0.1, waiting=(waiting_prompt(4095, 0.2),), pending_prefill_tokens=4095)
    for prompts in ("in-time", "first"):
        assert AdaServe(budget=16, share=10.0, prompts=prompts).select(shown, Drafts({1: UNSURE})).tokens == {1: 4}


@pytest.mark.parametrize(
    "waits",
    [
        waiting_prompt(4095, 0.05),  # no step is that short: nothing can save it
        waiting_prompt(4095, None),
        waiting_prompt(4095, offline=True),
    ],
    ids=["lost", "without objective", "offline"],
)
def test_drafts_give_way_only_to_first_tokens_that_they_decide_on(waits):
    shown = engine([decoding_request(1)], waiting=(waits,), pending_prefill_tokens=4095)
    assert AdaServe(budget=16, prompts="in-time").select(shown, Drafts({1: SURE})).tokens == {1: 4}


def test_without_a_seat_no_waiting_prompt_can_be_in_time():
    shown = engine([decoding_request(1)], waiting=(waiting_prompt(4095),), pending_prefill_tokens=4095, max_seqs=1)
    assert AdaServe(budget=16, prompts="in-time").select(shown, Drafts({1: SURE})).tokens == {1: 4}


def test_it_spends_no_more_than_pays_where_asked():
    """With a millisecond more for every token, of 12 for two decodes: 0.9 of a token pays, 0.05 does not."""
    requests = [decoding_request(1), decoding_request(2)]
    drafts = Drafts({1: [0.9, 0.05], 2: [0.05]})
    whole, paying = (
        AdaServe(budget=64, spend=spend).select(engine(requests, latency=STEEP), drafts) for spend in ("all", "paying")
    )
    assert whole.tokens == {1: 2, 2: 1}
    assert paying.tokens == {1: 1, 2: 0}


def test_objectives_are_served_though_it_does_not_pay():
    late, other = decoding_request(1, tpot_s=0.0122), decoding_request(2)
    selection = AdaServe(budget=64, spend="paying", share=100.0).select(
        engine([late, other], latency=STEEP), Drafts({1: [0.05], 2: [0.05]})
    )
    assert selection.tokens == {1: 1, 2: 0}


def test_drafts_are_as_deep_as_lately_paid():
    policy = AdaServe(budget=4096, spend="paying")
    depths, drafted = [], 0
    for _ in range(60):
        shown = engine([decoding_request(i, drafted=drafted) for i in range(4)], latency=STEEP)
        depths.append(policy.shape(shown).tokens)
        drafted += depths[-1]
    assert depths[0] > depths[-1] == 1  # nothing is ever accepted; one token is drafted on, to see whether that lasts


def test_of_trees_it_names_the_likeliest_nodes_parents_first():
    """The trees of the paper's Figure 5."""
    layers = (-1, -1, 0, 0, 2, 2)
    trees = {1: Tree(layers, (0.7, 0.2, 0.6, 0.3, 0.7, 0.3)), 2: Tree(layers, (0.5, 0.4, 0.7, 0.2, 0.4, 0.4))}
    requests = [decoding_request(1), decoding_request(2)]
    selection = AdaServe(budget=2 + 4).select(engine(requests), Drafts({}, trees))
    assert selection.tokens is None
    assert selection.nodes == {1: [0, 2], 2: [0, 1]}


def test_it_asks_for_trees_as_wide_as_the_drafter_has_tokens_for():
    widths = [AdaServe(budget=512).shape(engine([decoding_request(i) for i in range(n)])).width for n in (1, 32, 48, 96)]
    assert widths == [3, 3, 2, 1]
    assert AdaServe(budget=512, width_max=1).shape(engine([decoding_request(1)])).width == 1


def test_tiers_can_be_left_to_the_throughput_phase_as_the_released_engine_does():
    late = decoding_request(1, tpot_s=0.040, generated=2, tier="chat")
    shown, drafts = engine([late, decoding_request(2)], now_s=0.1), Drafts({1: UNSURE, 2: SURE})
    assert AdaServe(budget=5, share=10.0).select(shown, drafts).tokens == {1: 3, 2: 0}
    assert AdaServe(budget=5, share=10.0, unconstrained="summary, chat").select(shown, drafts).tokens == {1: 0, 2: 3}


def test_drafts_get_shorter_as_more_requests_share_the_budget():
    policy = AdaServe(budget=64, depth_min=1)
    depths = [policy.shape(engine([decoding_request(i) for i in range(count)])).tokens for count in (1, 8, 16, 32)]
    assert depths == [8, 7, 3, 1]


def test_requests_in_prefill_are_not_counted():
    prefilling = [Request(id=i, prompt_tokens=10, prefilled_tokens=5) for i in range(50)]
    assert AdaServe(budget=64).shape(engine([decoding_request(99), *prefilling])).tokens == 8


def test_without_a_budget_the_knee_of_the_engines_step_times_is_taken():
    requests = [decoding_request(i) for i in range(300)]
    selection = AdaServe().select(engine(requests), Drafts({r.id: SURE for r in requests}))
    assert sum(selection.tokens.values()) == 1008 - 300  # FLAT's ridge is at 1,000 tokens, asked about at multiples of 16


def test_no_more_is_verified_than_there_is_nor_anything_when_roots_take_it_all():
    requests = [decoding_request(i, tpot_s=0.001) for i in range(8)]
    drafts = Drafts({r.id: SURE for r in requests})
    assert set(AdaServe(budget=8).select(engine(requests, 1.0), drafts).tokens.values()) == {0}
    assert set(AdaServe(budget=800).select(engine(requests, 1.0), drafts).tokens.values()) == {4}
    assert AdaServe(budget=8).select(engine([]), Drafts({})).tokens == {}


def test_it_decides_the_same_after_a_pickle():
    policy = AdaServe()
    shown = engine([decoding_request(i, tpot_s=0.02) for i in range(9)], now_s=0.2)
    policy.shape(shown)
    again = pickle.loads(pickle.dumps(policy))
    drafts = Drafts(dict.fromkeys(range(9), UNSURE))
    assert again.select(shown, drafts) == policy.select(shown, drafts)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"budget": -1}, "budget is -1"),
        ({"order": "up"}, "order is 'up'"),
        ({"margin": 0.0}, "margin is 0"),
        ({"assurance": 1.0}, "assurance is 1"),
        ({"share": 0.0}, "share"),
        ({"spend": "some"}, "spend is 'some'"),
        ({"prompts": "never"}, "prompts is 'never'"),
    ],
)
def test_wrong_parameters_are_refused(parameters, text):
    with pytest.raises(registry.PolicyError, match=text):
        registry.build("speculator", "policies.adaserve.speculator:AdaServe", parameters, seed=0)
