"""Candidate trees: path probabilities, chains, beam search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.adaserve.tree import NO_NODE, ROOT, Forest, beam
from tests.policies.adaserve.forests import FullTree, forests


def test_a_nodes_path_probability_is_the_product_of_the_conditional_ones_from_the_root():
    forest = Forest.of_trees([([ROOT, 0, 1, 0], [0.5, 0.4, 0.9, 0.1])])
    assert forest.path[0] == pytest.approx([0.5, 0.2, 0.18, 0.05])
    assert forest.depth.tolist() == [3]


def test_a_chain_is_a_tree_without_branches():
    chains = [[0.9, 0.5, 0.1], [], [0.3]]
    as_trees = [(list(range(-1, len(chain) - 1)), chain) for chain in chains]
    one, other = Forest.of_chains(chains), Forest.of_trees(as_trees)
    assert one.path == pytest.approx(other.path)
    assert one.depth.tolist() == other.depth.tolist() == [3, 0, 1]
    assert one.path[1].tolist() == [NO_NODE] * 3


def test_a_child_before_its_parent_is_refused_by_name():
    with pytest.raises(ValueError, match="tree 1: node 0 has parent 1"):
        Forest.of_trees([([], []), ([1, ROOT], [0.5, 0.5])])


def test_how_far_accepted_drafts_deviate_from_their_mean():
    """A chain of 0.8s accepts 0 to 3 with 0.2, 0.16, 0.128 and 0.512; a root's two children accept one of them or none."""
    accepted, weight = np.arange(4), np.array([0.2, 0.16, 0.128, 0.512])
    mean = (weight * accepted).sum()
    found = Forest.of_chains([[0.8] * 3, [1.0, 1.0], []]).deviation()
    assert found == pytest.approx([((weight * accepted**2).sum() - mean**2) ** 0.5, 0.0, 0.0])
    assert Forest.of_trees([([ROOT, ROOT], [0.5, 0.3])]).deviation() == pytest.approx([(0.8 * 0.2) ** 0.5])


@given(forest=forests())
@settings(max_examples=60, deadline=None)
def test_every_prefix_of_the_best_nodes_hangs_together(forest):
    order = forest.best_first()
    for row in range(len(order)):
        nodes = [node for node in order[row] if forest.path[row, node] >= 0]
        seen = {ROOT}
        for node in nodes:
            assert forest.parents[row, node] in seen
            seen.add(node)


@given(seed=st.integers(0, 99), fan=st.integers(1, 3), depth=st.integers(1, 3), width=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_beam_search_keeps_the_likeliest_children_of_what_it_kept(seed, fan, depth, width):
    drafter = FullTree(seed, 2, fan, depth)
    whole = drafter.everything()
    forest, contexts = beam(drafter, 2, depth, width)
    for row in range(2):
        frontier, kept = [0], []
        for _ in range(depth):
            children = [node * drafter.fan + c for node in frontier for c in range(1, fan + 1)]
            frontier = sorted(children, key=lambda node: -whole.path[row, node - 1])[:width]
            kept += frontier
        assert sorted(contexts[row].tolist()) == sorted(kept)
        assert forest.path[row] == pytest.approx([whole.path[row, int(c) - 1] for c in contexts[row]])
        parent_of = [0 if p == ROOT else int(contexts[row, p]) for p in forest.parents[row]]
        assert parent_of == [(int(c) - 1) // fan for c in contexts[row]]


def test_a_beam_without_depth_is_a_root():
    forest, contexts = beam(FullTree(0, 3, 2, 1), 3, 0, 2)
    assert forest.path.shape == contexts.shape == (3, 0)
    assert np.all(forest.depth == 0)
