"""TurboSpec's and AdaSpec's choice of a length, and what they learn from the tokens that come."""

from __future__ import annotations

import math

import pytest

from policies.adaserve.acceptance import ObservedAcceptance, expected_tokens
from policies.adaserve.baselines import AdaSpec, TurboSpec
from policies.decisions import Drafts
from policies.protocols import Speculator
from tests.policies.adaserve.engines import FLAT, STEEP, decoding_request, engine


def run(policy, accept, requests=4, steps=60, latency=FLAT):
    """Lengths chosen when every verification of k draft tokens accepts ``accept(k)``."""
    generated, drafted, accepted, lengths = 1, 0, 0, []
    for step in range(steps):
        batch = [decoding_request(i, generated=generated, drafted=drafted, accepted=accepted) for i in range(requests)]
        lengths.append(policy.shape(engine(batch, now_s=0.02 * step, latency=latency)).tokens)
        taken = accept(lengths[-1])
        generated, drafted, accepted = generated + taken + 1, drafted + lengths[-1], accepted + taken
    return lengths


def test_expected_tokens_are_a_geometric_sum():
    assert expected_tokens(0.5, 3).tolist() == [1, 1.5, 1.75, 1.875]
    assert expected_tokens(1.0, 2).tolist() == [1, 2, 3]


def test_the_estimate_moves_from_its_prior_to_what_is_observed():
    acceptance = ObservedAcceptance(prior=0.9)
    for step in range(200):
        acceptance.look([decoding_request(1, drafted=4 * step, accepted=step)])  # one of four: a hit and a miss
    assert acceptance.rate == pytest.approx(0.5, abs=1e-3)


def test_a_chain_that_is_accepted_whole_says_nothing_of_a_miss():
    acceptance = ObservedAcceptance(prior=0.5, memory=1e9)
    acceptance.look([decoding_request(1, drafted=3, accepted=3)])
    assert acceptance.rate == pytest.approx((0.5 + 3) / (1 + 3))


def test_a_request_that_was_not_in_the_step_is_not_a_miss():
    acceptance = ObservedAcceptance(prior=0.5)
    acceptance.look([decoding_request(1)])
    assert acceptance.rate == 0.5


def test_what_the_engine_did_not_verify_is_not_a_rejection():
    """Three were asked for; the step's token budget had room for one."""
    acceptance = ObservedAcceptance(prior=0.5, memory=1e9)
    acceptance.look([decoding_request(1, generated=3, drafted=1, accepted=1)])
    assert acceptance.rate == pytest.approx((0.5 + 1) / (1 + 1))


def test_turbospec_drafts_far_where_tokens_are_free_and_accepted():
    assert run(TurboSpec(), lambda k: k)[-1] == 8
    assert run(TurboSpec(), lambda k: 0, latency=STEEP)[-1] == 0


def test_turbospec_drafts_less_the_more_requests_share_a_step():
    lengths = [TurboSpec().shape(engine([decoding_request(i) for i in range(n)], latency=STEEP)).tokens for n in (1, 8, 64)]
    assert lengths[0] > lengths[1] >= lengths[2]


def test_turbospec_finds_the_length_with_the_most_expected_tokens_per_second():
    shown = engine([decoding_request(i) for i in range(3)], latency=STEEP, draft_s=0.002)
    goodput = [expected_tokens(0.7, 8)[k] / (STEEP.curve.at(3 + 3 * k) + 0.002 * k) for k in range(9)]
    assert TurboSpec(prior=0.7).shape(shown).tokens == max(range(9), key=goodput.__getitem__)


def test_adaspec_goes_further_than_is_efficient_to_bring_requests_back_on_schedule_and_turbospec_does_not():
    """At α = 0.6 a step of 4 requests takes 14, 18, 22, 26, 30 ms and yields 1, 1.6, 1.96, 2.18, 2.31 tokens each: two draft tokens
    are most efficient; 17.4 ms behind, only three bring requests of 20 ms per token back.
    """

    def lengths(now_s):
        late = engine([decoding_request(i, tpot_s=0.020) for i in range(4)], now_s, STEEP)
        return TurboSpec(prior=0.6).shape(late).tokens, AdaSpec(prior=0.6).shape(late).tokens

    assert lengths(0.0) == (2, 2)
    assert lengths(0.0174) == (2, 3)
    assert lengths(1.0) == (2, 2)  # nothing helps


def test_adaspec_verifies_what_is_worth_its_time():
    shown = engine([decoding_request(1), decoding_request(2)], latency=STEEP)
    selection = AdaSpec().select(shown, Drafts({1: [0.9, 0.9, 0.9], 2: [0.1, 0.9, 0.9]}))
    assert selection.tokens == {1: 3, 2: 0}
    free = AdaSpec().select(engine([decoding_request(1), decoding_request(2)]), Drafts({1: [0.9], 2: [0.1]}))
    assert free.tokens == {1: 1, 2: 1}


def test_adaspec_prunes_nothing_that_an_objective_needs():
    """Decoding alone, request 1 ends the step late; with its draft token, unlikely as it is, it does not."""
    needs, other = decoding_request(1, tpot_s=0.0122), decoding_request(2)
    shown = engine([needs, other], latency=STEEP)
    assert AdaSpec().select(shown, Drafts({1: [0.12], 2: []})).tokens == {1: 1, 2: 0}
    assert AdaSpec().select(engine([decoding_request(1), other], latency=STEEP), Drafts({1: [0.12], 2: []})).tokens == {1: 0, 2: 0}


@pytest.mark.parametrize("policy", [TurboSpec, AdaSpec])
def test_baselines_are_speculators_that_refuse_nonsense(policy):
    assert isinstance(policy(), Speculator)
    assert policy().shape(engine([])).tokens == 0
    with pytest.raises(ValueError, match="longest is 0"):
        policy(longest=0)
    with pytest.raises(ValueError, match="prior is 1"):
        policy(prior=1.0)
    assert math.isfinite(policy().acceptance.rate)
