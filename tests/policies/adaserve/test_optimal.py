"""Algorithm 1 against all selections there are, and the practical selection against Algorithm 1."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies.adaserve.optimal import optimal
from policies.adaserve.selection import Rules, select
from policies.adaserve.tree import ROOT, Forest, beam
from tests.policies.adaserve.forests import FullTree, forests
from tests.policies.adaserve.test_selection import FIGURE_5, FIGURE_5_BUDGET, FIGURE_5_NEEDED, NONE, needs

ROUNDING = 1e-9
UNLIMITED = Rules(share=math.inf)


def connected_subtrees(parents, size):
    """Every set of nodes that holds the parents of its members."""
    for count in range(size + 1):
        for nodes in itertools.combinations(range(size), count):
            if all(parents[node] == ROOT or parents[node] in nodes for node in nodes):
                yield nodes


def exhaustive(forest, needed, budget):
    """The most expected tokens of any selection that keeps the constraints; ``None`` where none does."""
    options = []
    for row, need in enumerate(needed):
        size = int((forest.path[row] >= 0).sum())
        found = [
            (len(nodes), 1 + sum(forest.path[row, list(nodes)])) for nodes in connected_subtrees(forest.parents[row].tolist(), size)
        ]
        options.append([(nodes, value) for nodes, value in found if value >= need])
    sums = [sum(v for _, v in chosen) for chosen in itertools.product(*options) if sum(n + 1 for n, _ in chosen) <= budget]
    return max(sums, default=None)


@given(forest=forests(3, 5), budget=st.integers(0, 14), data=st.data())
@settings(max_examples=120, deadline=None)
def test_the_oracle_finds_what_trying_every_selection_finds(forest, budget, data):
    # Needs a hair off every reachable sum, so that the two orders of addition cannot disagree on whether one is met.
    needed = np.array([data.draw(st.floats(0, 4).map(lambda x: round(x, 2) + 0.0012345)) for _ in forest.path])
    best, found = exhaustive(forest, needed, budget), optimal(forest, needed, budget)
    assert (best is None) == (found is None)
    if best is not None:
        assert found.expected.sum() == pytest.approx(best, abs=ROUNDING)
        assert (found.expected >= needed).all()
        assert found.nodes.sum() + len(needed) <= budget


def test_the_oracle_on_figure_5_is_the_practical_selection():
    best, practical = optimal(FIGURE_5, FIGURE_5_NEEDED, FIGURE_5_BUDGET), select(FIGURE_5, FIGURE_5_NEEDED, FIGURE_5_BUDGET)
    assert best.nodes.tolist() == practical.nodes.tolist()


def test_the_oracle_says_when_no_selection_keeps_all_objectives():
    assert optimal(FIGURE_5, np.array([1.6, 1.8]), 4) is None
    assert optimal(FIGURE_5, np.array([9.0, 1.0]), 100) is None
    assert optimal(FIGURE_5, np.array([1.6, 1.8]), 5) is not None


@given(forest=forests(5, 10), budget=st.integers(1, 40), data=st.data())
@settings(max_examples=150, deadline=None)
def test_with_true_probabilities_and_no_share_the_practical_selection_is_the_oracles(forest, budget, data):
    needed = data.draw(needs(forest))
    best = optimal(forest, needed, budget)
    assume(best is not None)
    practical = select(forest, needed, budget, UNLIMITED)
    assert practical.nodes.tolist() == best.nodes.tolist()


@given(forest=forests(5, 10), slack=st.integers(0, 20), share=st.sampled_from([0.3, 1.0, 1.2]), data=st.data())
@settings(max_examples=80, deadline=None)
def test_with_a_slack_budget_the_practical_selection_is_the_oracles_whatever_the_share(forest, slack, share, data):
    budget = int((forest.path >= 0).sum()) + len(forest.path) + slack
    needed = data.draw(needs(forest))
    practical = select(forest, needed, budget, Rules(share=share))
    assert practical.nodes.tolist() == (forest.path >= 0).sum(axis=1).tolist()
    best = optimal(forest, needed, budget)
    assert best is None or best.nodes.tolist() == practical.nodes.tolist()


@given(forest=forests(5, 10), budget=st.integers(1, 40), share=st.sampled_from([0.3, 1.0, 1.2]), data=st.data())
@settings(max_examples=120, deadline=None)
def test_a_share_costs_objectives_but_never_expected_tokens(forest, budget, share, data):
    """The limit only relaxes the oracle's constraints."""
    needed = data.draw(needs(forest))
    best = optimal(forest, needed, budget)
    assume(best is not None)
    assert select(forest, needed, budget, Rules(share=share)).expected.sum() >= best.expected.sum() - ROUNDING


@given(
    seed=st.integers(0, 10_000),
    requests=st.integers(1, 3),
    depth=st.integers(1, 3),
    width=st.integers(1, 3),
    budget=st.integers(1, 24),
    distrust=st.sampled_from([0.0, 0.3, 1.0]),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_the_practical_selection_is_never_worse_than_the_oracle_less_the_stated_bound(
    seed, requests, depth, width, budget, distrust, data
):
    """docs/adaserve.md: what the beam left out + what the objectives displaced + what the drafter got wrong."""
    full, true = FullTree(seed, requests, 3, 3), FullTree(seed + 1, requests, 3, 3)
    true.given = (1 - distrust) * full.given + distrust * true.given  # the drafter believes full.given
    whole = true.everything()
    needed = np.array([data.draw(st.floats(0, 4) | st.just(NONE)) for _ in range(requests)])
    best = optimal(whole, np.full(requests, NONE), budget)  # without objectives: no constrained oracle has more
    assume(best is not None)
    candidates, contexts = beam(full, requests, depth, width)
    practical = select(candidates, needed, budget)

    def truth(row, node):
        return whole.path[row, int(contexts[row, node]) - 1]

    chosen = [(row, node) for row in range(requests) for node in practical.of(row)]
    for_slo = [(row, node) for row in range(requests) for node in practical.order[row, : practical.for_slo[row]]]
    left_over = [candidates.path[row, node] for row in range(requests) for node in practical.order[row, practical.nodes[row] :]]
    next_best = max(left_over, default=0.0)
    in_beam = [{int(c) - 1 for c in contexts[row]} for row in range(requests)]
    oracle = [(row, node) for row in range(requests) for node in best.of(row)]
    beam_loss = sum(whole.path[row, node] for row, node in oracle if node not in in_beam[row])
    displaced = sum(max(0.0, next_best - candidates.path[row, node]) for row, node in for_slo)
    wrong = max(
        (abs(candidates.path[row, node] - truth(row, node)) for row in range(requests) for node in range(candidates.path.shape[1])),
        default=0.0,
    )
    bound = beam_loss + displaced + 2 * wrong * (budget - requests)
    assert sum(truth(row, node) for row, node in chosen) + requests >= best.expected.sum() - bound - ROUNDING


@given(seed=st.integers(0, 10_000), budget=st.integers(2, 16))
@settings(max_examples=60, deadline=None)
def test_the_optimal_trees_lie_within_a_beam_as_wide_as_the_budget_and_as_deep_as_they_are(seed, budget):
    """Theorem 4.1 of the paper."""
    drafter = FullTree(seed, 2, 3, 3)
    whole = drafter.everything()
    best = optimal(whole, np.full(2, NONE), budget)
    assume(best is not None)
    depth = _depth(whole, best)
    candidates, contexts = beam(drafter, 2, depth, budget)
    within = select(candidates, np.full(2, NONE), budget)
    assert within.expected.sum() == pytest.approx(best.expected.sum(), abs=ROUNDING)
    for row in range(2):
        assert {int(node) + 1 for node in best.of(row)} <= set(contexts[row].tolist())


def _depth(forest: Forest, selected) -> int:
    def layer(row, node):
        return 1 if forest.parents[row, node] == ROOT else 1 + layer(row, forest.parents[row, node])

    return max((layer(row, node) for row in range(len(forest.path)) for node in selected.of(row)), default=0)
