"""HyGen's figures from made-up runs: profiles are kept to, cells are judged, everything is drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure as Canvas

from figures.frame import produce
from figures.hygen.cells import ALONE, FEW, HYGEN, MOST, OFFLINE, PLUS, STAR, Cells, Setting, share_within, values
from figures.hygen.objectives import Objectives
from figures.hygen.tolerance import Tolerances
from figures.hygen.variants import Variants
from figures.runner import Highest, Sweep
from figures.style import LIGHT
from sim.profiling import Objective

if TYPE_CHECKING:
    from pandas import DataFrame


class MadeUp:
    """Latencies rise with a budget or a rate, offline tokens too; Sarathi++ has the most of both."""

    quick = True

    def sweep(self, asked: Sweep) -> DataFrame:
        import pandas as pd

        (batcher,) = asked.axes["policy.batcher"]
        use = self.use(batcher)
        rows = []
        for seed in asked.seeds:
            luck = 1 + 0.02 * (seed % 3)
            for metric in asked.metrics:
                slower = 1 + use * (1.0 if "mean" in metric else 0.6)
                value = (
                    100 * use * luck if metric.endswith("@batch") else 50 + 100 * use * luck if "throughput" in metric else slower
                )
                rows.append((batcher, seed, metric, value * (1.0 if "throughput" in metric else luck), None, None, 1))
        return pd.DataFrame(rows, columns=["policy.batcher", "seed", "metric", "value", "lo", "hi", "n"])

    @staticmethod
    def use(batcher: str) -> float:
        if "observe" in batcher:
            return 0.0
        found = re.search(r"(budget_s|rate): ([\d.e-]+)", batcher)
        if found is None:
            return 2.0
        return float(found[2]) * (10 if found[1] == "budget_s" else 0.5)

    def highest(self, asked: Highest) -> DataFrame:
        raise AssertionError(asked)

    def rest_on(self, sentence: str, seeds: Sequence[int] = ()) -> None:
        pass


def test_a_cell_is_profiled_up_to_its_tolerance_and_measured_on_other_seeds() -> None:
    cells = Cells(MadeUp(), Setting("here"))
    frame = cells.hygen([Objective("itl_s.mean@chat", tolerance=0.3)], objective="itl_s.mean@chat", tolerance=0.3)
    assert set(frame["seed"]) == set(FEW.shown)
    assert 0.27 < 10 * frame["knob"].iloc[0] <= 0.3
    assert cells.hygen([Objective("itl_s.mean@chat", tolerance=0.01)])["knob"].iloc[0] == 0.0, "offline work is off"


@pytest.mark.parametrize("kind", [Tolerances, Variants, Objectives])
def test_every_figure_draws_what_it_has(kind: type) -> None:
    figure = kind()
    frame = figure.data(MadeUp())
    figure.draw(frame, Canvas(figsize=figure.size), LIGHT)
    rows = {row.quantity: row for row in (expectation.row(frame) for expectation in figure.expected)}
    assert all(row.ours.value is not None for quantity, row in rows.items() if "TP 2" not in quantity and "L40S" not in quantity)
    within = next(row for quantity, row in rows.items() if quantity.startswith("share of HyGen's cells"))
    assert within.ours.value == 1


def test_a_rival_that_breaks_its_objective_is_said_to() -> None:
    frame = Tolerances().data(MadeUp())
    assert share_within(frame, PLUS, surely_beyond=True).value == 1
    found = share_within(frame, PLUS)
    assert found.value == 0
    assert "not in Llama-2-7B on A100, mean TBT 10 %" in found.note
    assert len(values(frame, ALONE, "itl_s.mean@chat")) == len(MOST.shown)
    assert (values(frame, STAR, OFFLINE, objective="itl_s.p99@chat", tolerance=0.1) > 0).all()
    assert (values(frame, HYGEN, OFFLINE, objective="itl_s.p99@chat", tolerance=0.5) > 0).all()


def test_a_figure_is_written_with_its_table(tmp_path: Path) -> None:
    made = produce(Tolerances(), MadeUp(), tmp_path)
    assert {path.suffix for path in made.files} >= {".png", ".svg", ".csv", ".md"}
    assert "share of HyGen's cells within their SLO" in (tmp_path / "hygen-tolerance.md").read_text()
