"""Where what-ifs are held against the paper."""

from __future__ import annotations

import pandas as pd
import pytest

from figures.adaserve import digitised
from figures.adaserve.differences.points import gaps, mean, points
from figures.adaserve.load import Objectives, Rates, Urgency
from figures.adaserve.settings import ADASERVE, DEPLOYMENTS, LLAMA, Deployment


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each.key)
def test_points_are_the_figures_own(deployment: Deployment) -> None:
    drawn = {value for figure in (Rates(), Urgency(), Objectives()) for value in figure.x(deployment, quick=False).values()}
    found = points(deployment)
    assert {point.workload for point in found} <= drawn
    assert len({point.x for point in found}) == len(found) == 6


def test_gaps_are_ours_less_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digitised, "curve", lambda *_: {0.0: 50.0, 100.0: 50.0})
    table = [(1, "attainment", 0.5 + place / 100, point.x, ADASERVE, "llama") for place, point in enumerate(points(LLAMA))]
    frame = pd.DataFrame(table, columns=["seed", "metric", "value", "x", "system", "model"])
    assert [round(gap) for gap in gaps(frame, LLAMA, ADASERVE)] == [0, 1, 2, 3, 4, 5]


def test_a_mean_has_its_sign_and_its_size() -> None:
    assert mean([10.0, -20.0]) == "-5 (15)"
