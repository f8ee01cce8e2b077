"""What the assumptions are that are exchanged one by one, and that they end where the figures stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from figures import gallery
from figures.adaserve import differences
from figures.adaserve.differences import ALL, IN_TURN, NOW, ON_TOP, VERIFY, faster, rate_of_chain, runs, straight
from figures.adaserve.settings import LLAMA
from policies.latency import FingerprintLatency, StepShape
from tests.figures.adaserve.test_figures import Invented
from traces.fingerprints import read_fingerprint
from traces.scenario import Scenario, load_scenario


def test_the_straight_line_joins_the_time_without_load_to_the_tables_first_row(tmp_path: Path) -> None:
    latency = FingerprintLatency(read_fingerprint(Path(straight(tmp_path).partition("=")[2])))
    took_ms = [1e3 * latency.seconds(StepShape(0, 0, 0, count, 0, 0)) for count in (1, 64.5, 128, 256)]
    assert took_ms == pytest.approx([30, 42.5, 55, 85])


def test_figure_15_and_the_passes_that_the_paper_tells_make_verifying_faster_than_the_table(tmp_path: Path) -> None:
    assert pytest.approx(86.6 / 125, abs=1e-3) == VERIFY
    latency = FingerprintLatency(read_fingerprint(Path(faster(tmp_path, VERIFY).partition("=")[2])))
    took_ms = [1e3 * latency.seconds(StepShape(0, 0, 0, count, 0, 0)) for count in (1, 90, 128, 512)]
    assert took_ms == pytest.approx([30, 30, 55 * VERIFY, 86.6], abs=0.1)
    assert len({straight(tmp_path), straight(tmp_path, VERIFY), faster(tmp_path, VERIFY)}) == 3  # a file is read once


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
def test_the_rows_that_name_a_figure_rest_on_what_it_rests_on(assumed: differences.Assumed, figure: str, tmp_path: Path) -> None:
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
