"""Figures 10 and 11 under the assumptions of `adaserve-sourced`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from figures.adaserve import elsewhere, sourced
from figures.adaserve.load import Objectives, OverX, Urgency
from figures.adaserve.settings import DEPLOYMENTS, PAPERS, Deployment
from tests.figures.adaserve.test_figures import Invented


@pytest.mark.parametrize(("figure", "drawn"), [("fig10", Urgency()), ("fig11", Objectives())])
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each.key)
def test_points_are_the_figures_with_shorter_outputs(figure: str, drawn: OverX, deployment: Deployment) -> None:
    ours, theirs = elsewhere.workloads(figure, deployment), drawn.x(deployment, quick=False)
    assert set(ours) == set(theirs)
    for x, workload in ours.items():
        known = json.loads(theirs[x])
        for entry in known:
            entry["trace"]["output_tokens"] = sourced.OUTPUT_TOKENS
        assert json.loads(workload) == known


def test_there_is_a_row_for_each_figure_and_deployment(shared_data: Path) -> None:
    table = list(elsewhere.rows(Invented()))  # type: ignore[arg-type]
    assert len(table) == 2 + len(elsewhere.FIGURES) * len(DEPLOYMENTS)
    assert all(row.count("|") == 3 + len(PAPERS) for row in table)
