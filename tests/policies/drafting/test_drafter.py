"""How likely draft tokens are accepted, and the published numbers behind it."""

from __future__ import annotations

import pytest

from policies.drafting.drafter import Drafter, Kind, rates_of
from policies.drafting.known import DRAFTERS


def test_unconditional_acceptance_by_position_becomes_conditional_rates():
    """EAGLE-3 on MT-Bench, as vLLM's continuous integration holds it: 0.730, 0.521, 0.355 make 2.60 tokens per step."""
    drafter = DRAFTERS["eagle3/llama-3.1-8b/mt-bench"]
    assert drafter.kinds[0].rates == pytest.approx((0.7296, 0.5208 / 0.7296, 0.3545 / 0.5208))
    assert 1 + drafter.accepted(3) == pytest.approx(2.6049)


def test_the_last_rate_holds_for_all_places_after_it():
    assert Kind((0.5, 0.8)).accepted(4) == pytest.approx(0.5 + 0.4 + 0.32 + 0.256)
    assert Kind((0.5, 0.8)).accepted(0) == 0


def test_a_share_that_rises_with_position_is_no_survival():
    with pytest.raises(ValueError, match=r"position 2 is accepted in 0\.6"):
        rates_of([0.5, 0.6])
    assert rates_of([0.5, 0.0, 0.0]) == (0.5, 0.0, 0.0)


def test_requests_that_accept_little_weigh_more_among_verifications_than_among_requests():
    drafter = Drafter((Kind((1.0,), 0.5), Kind((0.0,), 0.5)))
    assert drafter.accepted(3) == pytest.approx(1.5)
    assert drafter.accepted_per_verification(3) == pytest.approx(0.6)  # of 8 tokens each, 2 and 8 verifications: 6 / 10


@pytest.mark.parametrize(("model", "tokens"), [("llama-3.1-70b", (3.37, 5.00, 6.62)), ("qwen2.5-32b", (2.97, 4.36, 5.73))])
def test_the_two_kinds_of_requests_give_the_accepted_tokens_of_adaserves_figure_12(model, tokens):
    drafter, by_place = DRAFTERS[f"adaserve/{model}"], DRAFTERS[f"adaserve/{model}/by-place"]
    assert [drafter.accepted(k) for k in (4, 6, 8)] == pytest.approx(tokens, abs=0.01)
    assert [by_place.accepted_per_verification(k) for k in (4, 6, 8)] == pytest.approx(tokens, abs=0.01)


def test_of_two_lasting_kinds_the_mean_over_verifications_is_not_figure_12s():
    """Why the two entries are apart: the figure does not say over what it averages."""
    pooled = [DRAFTERS["adaserve/llama-3.1-70b"].accepted_per_verification(k) for k in (4, 6, 8)]
    assert pooled == pytest.approx((2.43, 3.11, 3.61), abs=0.01)


@pytest.mark.parametrize(("model", "counted"), [("llama-3.1-70b", (3.37, 5.00, 6.62)), ("qwen2.5-32b", (2.97, 4.36, 5.72))])
def test_read_as_matching_tokens_figure_12_means_that_fewer_are_accepted_in_a_row(model, counted):
    """vLLM's V0 engine counts every matching token of a chain, whatever came before it."""
    drafter = DRAFTERS[f"adaserve/{model}/by-token"]
    rates = drafter.kinds[0].rates
    assert [sum(rates[:k]) for k in (4, 6, 8)] == pytest.approx(counted)
    assert all(drafter.accepted(k) < n - 0.7 for k, n in zip((4, 6, 8), counted, strict=True))


def test_every_known_drafter_names_its_source():
    assert all(drafter.source for drafter in DRAFTERS.values())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Kind(()), "rates are"),
        (lambda: Kind((1.2,)), "rates are"),
        (lambda: Kind((0.5,), 0.0), "share is 0"),
        (lambda: Drafter((Kind((0.5,), 0.5),)), "shares sum to 0.5"),
        (lambda: Drafter((Kind((0.5,)),), spread=2), "spread 2"),
        (lambda: Drafter((Kind((0.5,)),), confidence=0), "confidence is 0"),
    ],
)
def test_wrong_numbers_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
