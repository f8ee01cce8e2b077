"""Which draft tokens are accepted: as often as the rates say, and the same whatever is drafted."""

from __future__ import annotations

import pytest

from policies.drafting.acceptance import Acceptance


def test_each_place_in_the_chain_is_accepted_as_often_as_its_rate_says() -> None:
    acceptance = Acceptance(1, (0.8, 0.5, 0.2))
    counts = [0] * 4
    for request in range(20_000):
        counts[acceptance.accepted(request, 3, 3)] += 1
    reached = [sum(counts[place:]) for place in range(4)]
    assert [reached[i + 1] / reached[i] for i in range(3)] == pytest.approx([0.8, 0.5, 0.2], abs=0.02)


def test_runs_that_draft_more_or_less_agree_on_what_is_accepted() -> None:
    acceptance, again = Acceptance(1, (0.7,)), Acceptance(1, (0.7,))
    for request in range(200):
        most = acceptance.accepted(request, 10, 8)
        assert [again.accepted(request, 10, drafts) for drafts in range(9)] == [min(drafts, most) for drafts in range(9)]


def test_a_token_is_as_likely_at_the_same_rate_wherever_the_chain_began() -> None:
    acceptance = Acceptance(1, (0.7,))
    for request in range(200):  # the draws belong to output positions, not to steps
        if acceptance.accepted(request, 10, 8) >= 2:
            assert acceptance.accepted(request, 11, 8) == acceptance.accepted(request, 10, 9) - 1


def test_the_seed_changes_the_draws() -> None:
    one, other = Acceptance(1, (0.5,)), Acceptance(2, (0.5,))
    assert [one.accepted(r, 0, 5) for r in range(50)] != [other.accepted(r, 0, 5) for r in range(50)]


def test_the_last_rate_holds_for_the_rest_of_a_chain() -> None:
    assert Acceptance(0, (0.9, 0.5)).chain(4) == (0.9, 0.5, 0.5, 0.5)
    assert Acceptance(0, (0.9, 0.5)).chain(1) == (0.9,)
