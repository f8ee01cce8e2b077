"""AdaServe's figures: what they ask for, what can be read of them, and how ours is held against the paper."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from figures import gallery
from figures.adaserve import curves, digitised, settings
from figures.adaserve.settings import ADASERVE, DEPLOYMENTS, LLAMA, PAPERS
from figures.frame import drawn
from figures.labels import collisions
from figures.reproduction import Verdict
from figures.runner import Highest, Sweep
from figures.style import DARK, LIGHT, Theme
from traces.scenario import load_scenario

OURS = ("adaserve-ablations", "adaserve-combined")
PAPERS_LOADS = ("adaserve-rates", "adaserve-sourced", "adaserve-urgency", "adaserve-objectives")
SWEPT = (*PAPERS_LOADS, "adaserve-accepted", "adaserve-bursts", *OURS)


class Invented:
    """A runner whose answers are made up, the same ones every time."""

    def __init__(self, *, quick: bool = False) -> None:
        self.quick = quick
        self.asked: list[Sweep] = []

    def sweep(self, asked: Sweep) -> pd.DataFrame:
        self.asked.append(asked)
        places = itertools.product(*asked.axes.values(), asked.seeds, asked.metrics)
        rows = [(*place, (zlib.crc32(repr(place).encode()) % 1000) / 1000, None, None, 100) for place in places]
        return pd.DataFrame(rows, columns=[*asked.axes, "seed", "metric", "value", "lo", "hi", "n"])

    def highest(self, asked: Highest) -> pd.DataFrame:
        raise NotImplementedError

    def rest_on(self, sentence: str, seeds: Sequence[int] = ()) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_all_words_can_be_read(name: str, theme: Theme) -> None:
    figure = gallery.figure(name)
    assert collisions(drawn(figure, figure.data(Invented()), theme)) == []


@pytest.mark.parametrize("name", SWEPT)
def test_without_the_papers_curves_ours_are_drawn_and_the_caption_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(digitised, "FILE", tmp_path / "nowhere.json")
    digitised._file.cache_clear()
    figure = gallery.figure(name)
    frame = figure.data(Invented(quick=True))
    assert collisions(drawn(figure, frame)) == []
    assert all(expectation.row(frame) for expectation in figure.expected)
    if name not in OURS:
        assert digitised.ABSENT in figure.caption
    digitised._file.cache_clear()


@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.parametrize("quick", [True, False])
def test_every_point_is_a_scenario_that_can_be_run(name: str, quick: bool) -> None:
    runner = Invented(quick=quick)
    gallery.figure(name).data(runner)
    for asked in runner.asked:
        for key, values in asked.axes.items():
            for value in (values[0], values[-1]):
                load_scenario(asked.scenario, (*asked.sets, f"{key}={value}"))


def test_the_time_of_a_step_goes_into_drafting_and_verifying() -> None:
    class Noted(Invented):
        def rest_on(self, sentence: str, seeds: Sequence[int] = ()) -> None:
            assert "both deployments" in sentence

    figure = gallery.figure("adaserve-time")
    frame = figure.data(Noted(quick=True))
    share = frame.groupby(["model", "drafting"])["value"].mean()
    for key in ("llama", "qwen"):
        assert 0.05 < share[key, "data sheet"] < share[key, "as told"] < share[key, "from Fig. 15"] < 0.5
    assert collisions(drawn(figure, frame)) == []


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each.key)
def test_step_times_are_the_artifacts_verify_table(deployment: settings.Deployment) -> None:
    assert json.loads(deployment.fingerprint_file.read_text("utf-8")) == json.loads(
        json.dumps(settings.fingerprint(deployment).to_dict())
    )
    scenario = load_scenario(deployment.scenario)
    assert scenario.pools[0].hardware.tensor_parallel == deployment.setting.tensor_parallel
    assert scenario.workload[0].slo is not None
    assert scenario.workload[0].slo.tpot_s == pytest.approx(deployment.cat1_s)


def table(values: dict[str, list[float]], x: Sequence[float] = (2.6, 4.8)) -> pd.DataFrame:
    rows = [
        {"model": "llama", "system": system, "x": at, "seed": seed, "metric": "attainment", "value": value}
        for system, row in values.items()
        for at, value in zip(x, row, strict=True)
        for seed in (1, 2)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """AdaServe falls from 98 to 86, Sarathi from 56 to 33, and vLLM is half a point below it."""
    series = {
        ADASERVE: [[2.6, 98.0], [4.8, 86.0]],
        "Sarathi-Serve": [[2.6, 56.0], [4.8, 33.0]],
        "vLLM": [[2.6, 55.5], [4.8, 32.5]],
    }
    panel = {"model": LLAMA.name, "metric": "SLO attainment %", "series": series}
    monkeypatch.setattr(digitised, "_file", lambda: {"fig8": {"panels": [panel]}})


@pytest.mark.usefixtures("paper")
def test_order_is_kept_where_every_pair_is_in_the_papers_order_and_near_ties_do_not_count() -> None:
    systems = (ADASERVE, "Sarathi-Serve", "vLLM")
    right = table({ADASERVE: [0.9, 0.9], "Sarathi-Serve": [0.5, 0.3], "vLLM": [0.6, 0.4]})
    assert curves.order_kept(right, "fig8", LLAMA, "attainment", systems).value == 1
    half = table({ADASERVE: [0.9, 0.3], "Sarathi-Serve": [0.5, 0.3], "vLLM": [0.6, 0.4]})  # at 4.8 a tie and a loss
    assert curves.order_kept(half, "fig8", LLAMA, "attainment", systems).value == 0.5


@pytest.mark.usefixtures("paper")
def test_deviation_is_the_mean_distance_from_the_curve_and_knows_no_more_of_it_than_there_is() -> None:
    frame = table({ADASERVE: [0.98, 0.92, 0.96]}, (2.6, 3.7, 4.8))
    found = curves.deviation(frame, "fig8", LLAMA, "attainment", "SLO", times=100.0)
    assert found.value == pytest.approx((0 + 0 + 10) / 3)
    beyond = table({ADASERVE: [0.98, 0.1]}, (2.6, 9.9))
    assert curves.deviation(beyond, "fig8", LLAMA, "attainment", "SLO", times=100.0).value == pytest.approx(0)


def test_the_ratio_of_misses_has_no_bound_where_adaserve_misses_nothing() -> None:
    some = table({ADASERVE: [0.9, 0.8], "vLLM": [0.6, 0.5], "Sarathi-Serve": [0.7, 0.5]})
    assert curves.largest_ratio(some, "llama", "attainment", PAPERS[1:3], misses=True).value == pytest.approx(3.0)
    none = table({ADASERVE: [1.0, 0.8], "vLLM": [0.6, 0.5], "Sarathi-Serve": [0.7, 0.5]})
    measured = curves.largest_ratio(none, "llama", "attainment", PAPERS[1:3], misses=True)
    assert measured.value is None
    assert "misses nothing" in measured.note


def test_most_goodput_over_the_best_baseline() -> None:
    frame = table({ADASERVE: [0.9, 0.8], "vLLM": [0.6, 0.4], "Sarathi-Serve": [0.7, 0.2]})
    assert curves.largest_ratio(frame, "llama", "attainment", PAPERS[1:3]).value == pytest.approx(2.0)


def test_what_the_figures_expect_is_judged_or_says_why_not() -> None:
    for name in SWEPT:
        figure = gallery.figure(name)
        frame = figure.data(Invented())
        for expectation in figure.expected:
            row = expectation.row(frame)
            assert row.verdict is not Verdict.NOT_COMPARABLE or row.note
