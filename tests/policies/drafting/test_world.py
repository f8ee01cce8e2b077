"""Drafts and acceptances: as likely as they should be, and the same for every schedule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.adaserve.selection import select
from policies.adaserve.tree import ROOT
from policies.drafting.drafter import Drafter, Kind
from policies.drafting.known import DRAFTERS
from policies.drafting.world import DraftWorld

MANY = 20_000
EAGLE3 = DRAFTERS["eagle3/llama-3.1-8b/mt-bench"]
MIXED = Drafter((Kind((0.8, 0.6, 0.5), 0.7), Kind((0.3,), 0.3)), siblings=0.6, spread=0.8)
RIGHT = Drafter((Kind((0.7,)),), siblings=0.6, spread=1.0)


def many(count=MANY, generated=5):
    """Requests 0, 1, …, all of category 0 and at the same position."""
    return np.arange(count), np.zeros(count, np.int64), np.full(count, generated)


def test_acceptance_by_position_is_what_was_published():
    _, accepted = DraftWorld(1, [EAGLE3]).chains(*many(), 3)
    shares = [(accepted >= places).mean() for places in (1, 2, 3)]
    assert shares == pytest.approx([0.7296, 0.5208, 0.3545], abs=4 * 0.5 / MANY**0.5)


def test_ngram_drafts_are_accepted_as_published_and_believed_so_everywhere():
    believed, accepted = DraftWorld(2, [DRAFTERS["ngram/llama-3.1-8b/edits"]]).chains(*many(), 5)
    assert accepted.mean() == pytest.approx(3.59, abs=4 * 2 / MANY**0.5)
    assert believed.std(axis=0).max() < 1e-12


def test_requests_are_of_kinds_in_their_shares_and_stay_so():
    world = DraftWorld(3, [MIXED])
    requests, category, _ = many()
    kinds = world.kinds(requests, category)
    assert kinds.mean() == pytest.approx(0.3, abs=4 * 0.46 / MANY**0.5)
    assert kinds.tolist() == world.kinds(requests[::-1], category)[::-1].tolist()


@given(seed=st.integers(0, 50), depth=st.integers(1, 6), spread=st.sampled_from([0.0, 0.7]))
@settings(max_examples=25, deadline=None)
def test_a_chain_is_a_tree_of_width_one(seed, depth, spread):
    world = DraftWorld(seed, [Drafter(MIXED.kinds, 0.6, spread, 2.0)])
    believed, accepted = world.chains(*many(40), depth)
    proposal = world.trees(*many(40), depth, 1)
    assert np.cumprod(believed, axis=1) == pytest.approx(proposal.forest.path)
    assert accepted.tolist() == proposal.accepted.sum(axis=1).tolist()


@given(seed=st.integers(0, 50), width=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_what_the_target_takes_of_a_tree_is_one_path_from_the_root(seed, width):
    proposal = DraftWorld(seed, [MIXED]).trees(*many(40), 5, width)
    for row in range(40):
        taken = np.flatnonzero(proposal.accepted[row]).tolist()
        assert proposal.forest.parents[row, taken].tolist() == [ROOT, *taken[:-1]][: len(taken)]


def test_drafting_further_never_changes_what_was_accepted_before():
    """Two arms of a comparison that draft 3 and 8 tokens agree on what the target would have said."""
    world = DraftWorld(4, [EAGLE3])
    short, long = (world.chains(*many(500), depth)[1] for depth in (3, 8))
    assert short.tolist() == np.minimum(long, 3).tolist()


def test_whether_a_position_is_accepted_does_not_depend_on_where_the_draft_before_it_began():
    """With one rate for all places: a draft from position 5 that passes position 7 goes on as one from position 7 does."""
    world = DraftWorld(5, [RIGHT])
    early, late = (world.chains(*many(500, start), depth) for start, depth in ((5, 8), (7, 6)))
    passed = early[1] >= 2
    assert 50 < passed.sum() < 500
    assert (early[1][passed] - 2).tolist() == late[1][passed].tolist()
    assert early[0][passed][:, 2:].tolist() == late[0][passed].tolist()


def test_a_request_draws_the_same_whoever_shares_its_batch_and_whatever_its_row():
    world = DraftWorld(6, [RIGHT, MIXED])
    requests, category, generated = np.array([7, 3, 11]), np.array([1, 0, 1]), np.array([20, 0, 4])
    together = world.trees(requests, category, generated, 4, 3)
    for row in range(3):
        alone = world.trees(requests[row : row + 1], category[row : row + 1], generated[row : row + 1], 4, 3)
        assert alone.forest.path[0].tolist() == together.forest.path[row].tolist()
        assert alone.accepted[0].tolist() == together.accepted[row].tolist()


def test_categories_have_drafters_of_their_own():
    requests, _, generated = many()
    category = requests % 2
    _, accepted = DraftWorld(7, [Drafter((Kind((0.9,)),)), Drafter((Kind((0.2,)),))]).chains(requests, category, generated, 1)
    assert [accepted[category == code].mean() for code in (0, 1)] == pytest.approx([0.9, 0.2], abs=0.02)


@pytest.mark.parametrize(("confidence", "sign"), [(0.4, 1), (1.0, 0), (3.0, -1)])
def test_a_drafter_is_over_confident_right_or_under_confident_as_it_is_told(confidence, sign):
    """Of chains; the sum of path probabilities is what the drafter expects to be accepted."""
    believed, accepted = DraftWorld(8, [Drafter(RIGHT.kinds, 0.6, 1.0, confidence)]).chains(*many(), 6)
    excess = np.cumprod(believed, axis=1).sum(axis=1).mean() - accepted.mean()
    noise = 4 * 2.2 / MANY**0.5
    assert np.sign(excess) == sign if sign else abs(excess) < noise


def test_of_trees_too_a_right_drafter_expects_what_comes():
    world = DraftWorld(9, [RIGHT])
    proposal = world.trees(*many(), 4, 3)
    selected = select(proposal.forest, np.full(MANY, -np.inf), budget=6 * MANY)
    accepted = proposal.tokens(selected.order, selected.nodes)
    assert 1 + accepted.mean() == pytest.approx(selected.expected.mean(), abs=4 * 1.6 / MANY**0.5)
    chain = world.chains(*many(), 5)[1]
    assert accepted.mean() > np.minimum(chain, 5).mean()  # 5 nodes on average, where they are worth most


def test_beliefs_do_not_give_away_whether_a_path_is_the_targets():
    believed, accepted = DraftWorld(10, [RIGHT]).chains(*many(), 2)
    on, off = believed[accepted >= 1, 1], believed[accepted < 1, 1]
    assert on.mean() == pytest.approx(off.mean(), abs=0.02)
    assert on.std() == pytest.approx(off.std(), abs=0.02)


def test_no_depth_no_drafts():
    world = DraftWorld(0, [RIGHT])
    assert world.chains(*many(3), 0)[0].shape == (3, 0)
    assert world.trees(*many(3), 0, 2).forest.path.shape == (3, 0)


def test_certain_and_impossible_rates():
    _, accepted = DraftWorld(0, [Drafter((Kind((1.0, 0.0)),), spread=1.0)]).chains(*many(100), 3)
    assert set(accepted.tolist()) == {1}
