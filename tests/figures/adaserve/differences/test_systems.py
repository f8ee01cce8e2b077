"""What the assumptions are that are exchanged one by one, and that they end where the figures stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from figures import gallery
from figures.adaserve.differences.systems import ALL, IN_TURN, NOW, ON_TOP, Assumed, rate_of_chain, runs
from figures.adaserve.settings import LLAMA
from tests.figures.adaserve.test_figures import Invented
from traces.scenario import Scenario, load_scenario


@pytest.mark.parametrize("accepted", [0.5, 3.82, 5.23])
def test_a_chain_at_the_rate_found_brings_the_tokens_asked_for(accepted: float) -> None:
    rate = rate_of_chain(accepted)
    assert sum(rate**place for place in range(1, 9)) == pytest.approx(accepted, abs=1e-6)


def scenarios(runner: Invented) -> set[str]:
    """All runs that were asked for of Llama at the paper's rates, as the simulator would get them."""
    found = set()
    for asked in runner.asked:
        if asked.scenario == LLAMA.scenario:
            for workload in asked.axes["workload"]:
                for policy in asked.axes["policy"]:
                    sets = (*asked.sets, f"workload={workload}", f"policy={policy}")
                    found.add(_known(load_scenario(asked.scenario, sets)))
    return found


def _known(scenario: Scenario) -> str:
    return json.dumps(scenario.model_dump(mode="json"), sort_keys=True, default=str)


@pytest.mark.parametrize(("assumed", "figure"), [(NOW, "adaserve-rates"), (ALL, "adaserve-sourced")])
def test_the_rows_that_name_a_figure_rest_on_what_it_rests_on(assumed: Assumed, figure: str, tmp_path: Path) -> None:
    ours, theirs = Invented(), Invented()
    runs(ours, assumed, tmp_path)  # type: ignore[arg-type]
    gallery.figure(figure).data(theirs)
    assert scenarios(ours) == scenarios(theirs)


def test_every_row_exchanges_something_and_all_that_are_tried_on_top_start_from_the_last_one() -> None:
    assumed = [each for *_, each in (*IN_TURN, *ON_TOP)]
    assert len(set(assumed)) == len(assumed)
    assert IN_TURN[-1][2] is ALL


def test_every_run_of_every_row_is_a_scenario(tmp_path: Path, shared_data: Path) -> None:
    for *_, assumed in (IN_TURN[0], *ON_TOP):
        runner = Invented()
        runs(runner, assumed, tmp_path)  # type: ignore[arg-type]
        assert scenarios(runner)
