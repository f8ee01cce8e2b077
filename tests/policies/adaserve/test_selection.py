"""Which draft tokens are verified: the paper's example, its traps, its switches, and the algorithm as printed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.adaserve.selection import PAPER, Rules, needed_tokens, select
from policies.adaserve.tree import ROOT, Forest
from tests.policies.adaserve.forests import forests, sorted_rows
from tests.policies.adaserve.literal import literal_select

# The paper's Figure 5: two requests, d = 3, w = 2; conditional probabilities of the candidates.
R0 = ([ROOT, ROOT, 0, 0, 2, 2], [0.7, 0.2, 0.6, 0.3, 0.7, 0.3])
R1 = ([ROOT, ROOT, 0, 1, 2, 2], [0.5, 0.4, 0.7, 0.6, 0.4, 0.4])
FIGURE_5 = Forest.of_trees([R0, R1])
FIGURE_5_NEEDED = np.array([1.6, 1.8])  # the figure's 0.6 and 0.8, and the root's token
FIGURE_5_BUDGET = 8
NONE = -math.inf


def needs(forest):
    values = st.floats(-2, 12) | st.just(NONE) | st.sampled_from([1.0, 1.5, 2.0])
    return st.lists(values, min_size=len(forest.path), max_size=len(forest.path)).map(np.array)


def test_figure_5_of_the_paper():
    assert FIGURE_5.path[0] == pytest.approx([0.7, 0.2, 0.42, 0.21, 0.294, 0.126])
    assert FIGURE_5.path[1] == pytest.approx([0.5, 0.4, 0.35, 0.24, 0.14, 0.14])
    selected = select(FIGURE_5, FIGURE_5_NEEDED, FIGURE_5_BUDGET)
    assert selected.for_slo.tolist() == [1, 2]
    assert FIGURE_5.path[0, selected.of(0)] == pytest.approx([0.7, 0.42, 0.294])
    assert FIGURE_5.path[1, selected.of(1)] == pytest.approx([0.5, 0.4, 0.35])
    assert selected.expected == pytest.approx([1 + 0.7 + 0.42 + 0.294, 1 + 0.5 + 0.4 + 0.35])
    assert selected.nodes.sum() + 2 == FIGURE_5_BUDGET


def test_a_need_is_met_by_path_probabilities_not_by_conditional_ones():
    """The printed line 15 adds the conditional probability: 0.5 + 0.9 would do for a need of 1.4 beside the root's token."""
    chain = Forest.of_chains([[0.5, 0.9, 0.9, 0.9], [0.95, 0.95, 0.95, 0.95]])
    selected = select(chain, np.array([2.4, NONE]), budget=2 + 4, rules=Rules(share=math.inf))
    assert selected.for_slo.tolist() == [4, 0]  # 0.5 + 0.45 + 0.405 + 0.3645 = 1.72; three nodes give 1.355


@given(forest=forests(), budget=st.integers(0, 40), data=st.data())
@settings(max_examples=80, deadline=None)
def test_the_budget_holds_every_token_with_the_roots_among_them(forest, budget, data):
    """The printed loops run while B ≥ 0, which verifies one token too many."""
    selected = select(forest, data.draw(needs(forest)), budget)
    candidates = int((forest.path >= 0).sum())
    assert selected.nodes.sum() == max(0, min(candidates, budget - len(forest.path)))


def test_the_root_is_counted_once():
    """A request that needs one token has it from the root; one that needs 1.5 takes nodes worth 0.5, no more."""
    forest = Forest.of_chains([[0.5, 0.5], [0.5, 0.5]])
    selected = select(forest, np.array([1.0, 1.5]), budget=100)
    assert selected.for_slo.tolist() == [0, 1]
    assert selected.expected.tolist() == [1.75, 1.75]


def test_a_request_that_has_all_that_a_draft_can_give_takes_nothing_more_however_late_it_is():
    """d + 1 tokens: the nodes of a layer are accepted with probability 1 in all, so past them there are only hopeless ones."""
    forest = Forest.of_trees([([ROOT, ROOT], [1.0, 0.0]), ([ROOT, 0], [0.9, 0.9])])
    selected = select(forest, np.array([1e9, NONE]), 2 + 2, Rules(share=math.inf))
    assert selected.for_slo.tolist() == [1, 0]
    assert selected.nodes.tolist() == [1, 1]


@given(forest=forests(6, 12), budget=st.integers(0, 60), data=st.data())
@settings(max_examples=200, deadline=None)
def test_the_selection_is_that_of_the_algorithm_as_printed(forest, budget, data):
    needed = data.draw(needs(forest))
    rules = Rules(
        data.draw(st.sampled_from(["slo", "greedy"])),
        data.draw(st.sampled_from(["descending", "ascending"])),
        data.draw(st.sampled_from([0.5, 1.0, 1.2, math.inf])),
    )
    printed = literal_select(sorted_rows(forest), needed.tolist(), forest.depth.tolist(), budget, rules)
    assert select(forest, needed, budget, rules).nodes.tolist() == printed


def test_the_paper_serves_first_who_needs_most_and_the_code_who_needs_least():
    forest = Forest.of_chains([[0.5, 0.4], [0.9, 0.9]])
    needed = np.array([1.4, 1.8])
    assert select(forest, needed, 3, Rules(order="descending", share=math.inf)).for_slo.tolist() == [0, 1]
    assert select(forest, needed, 3, Rules(order="ascending", share=math.inf)).for_slo.tolist() == [1, 0]


def test_a_share_keeps_a_hopeless_request_from_eating_the_budget():
    forest = Forest.of_chains([[0.1] * 8, [0.9] * 8])
    needed = np.array([9.0, 3.0])
    assert select(forest, needed, 10, Rules(share=math.inf)).nodes.tolist() == [8, 0]
    assert select(forest, needed, 10, Rules(share=1.2)).nodes.tolist() == [5, 3]


def test_greedy_takes_the_likeliest_and_equal_the_same_of_all():
    forest = Forest.of_chains([[0.9, 0.9, 0.9], [0.2, 0.2, 0.2]])
    needed = np.array([1.0, 1.2])
    assert select(forest, needed, 5, Rules("greedy")).nodes.tolist() == [3, 0]
    assert select(forest, needed, 5, PAPER).nodes.tolist() == [2, 1]
    assert select(forest, needed, 5, Rules("equal")).nodes.tolist() == [2, 1]
    assert select(forest, needed, 6, Rules("equal")).nodes.tolist() == [2, 2]


@given(forest=forests(5), budget=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_without_objectives_the_paper_is_greedy(forest, budget):
    none = np.full(len(forest.path), NONE)
    assert select(forest, none, budget).nodes.tolist() == select(forest, none, budget, Rules("greedy")).nodes.tolist()


def test_no_requests_no_selection():
    for phases in ("slo", "greedy", "equal"):
        assert select(Forest.of_chains([]), np.empty(0), 8, Rules(phases)).nodes.tolist() == []


def test_needed_tokens_are_those_that_the_end_of_the_step_is_due():
    elapsed, tpot, tokens = np.array([1.0, 1.0, 0.0]), np.array([0.05, 0.1, math.inf]), np.array([15.0, 15.0, 0.0])
    assert needed_tokens(elapsed, 0.1, tpot, tokens) == pytest.approx([7.0, -4.0, NONE])


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="share is 0"):
        Rules(share=0.0)
