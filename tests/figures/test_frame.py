"""What every figure gets for nothing: labels that keep apart, verdicts that follow from intervals, and a full set of files."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from figures import gallery
from figures.frame import Produced, Source, produce
from figures.labels import Label, collisions, label_right, spread
from figures.paper import ramp, series_look
from figures.reproduction import Band, Expectation, Measured, Verdict, markdown, over_seeds, ratio_over_seeds
from figures.runner import COLUMNS, Highest, Sweep, SweepRunner
from figures.style import DARK, LIGHT, Theme
from tests.figures.test_style import contrast
from traces.errors import InputError

SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload: [{name: chat, trace: azure-2023-conv, arrivals: poisson, rate: 5/s, slo: {ttft: 500ms, tpot: 30ms}}]
duration: 5s
drain: 5s
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SCENARIO)
    return path


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_mean_over_seeds_has_students_interval() -> None:
    found = over_seeds(pd.Series([1.0, 2.0, 3.0]))
    half = 4.3027 / math.sqrt(3)  # t(2) at 97.5 %, standard deviation 1
    assert (found.value, found.lo, found.hi, found.seeds) == pytest.approx((2.0, 2 - half, 2 + half, 3), rel=0.01)


def test_a_ratio_is_paired_by_seed_whatever_the_order() -> None:
    above = pd.Series([2.0, 20.0, 200.0], index=[1, 2, 3])
    below = pd.Series([100.0, 10.0, 1.0], index=[3, 2, 1])
    found = ratio_over_seeds(above, below)
    assert (found.value, found.lo, found.hi) == pytest.approx((2.0, 2.0, 2.0))


def test_a_seed_without_a_value_makes_the_mean_unknown() -> None:
    assert over_seeds(pd.Series([1.0, math.nan])).value is None
    assert ratio_over_seeds(pd.Series([1.0]), pd.Series([0.0])).value is None


@pytest.mark.parametrize(
    ("lo", "hi", "verdict"),
    [
        (1.0, 1.2, Verdict.AGREES),
        (0.8, 0.9, Verdict.DIFFERS),
        (0.9, 1.1, Verdict.CANNOT_TELL),
        (None, None, Verdict.CANNOT_TELL),
    ],
)
def test_the_whole_interval_decides(lo: float | None, hi: float | None, verdict: Verdict) -> None:
    assert Band(low=1.0).verdict(Measured(1.0, lo, hi, 3)) is verdict


def test_without_a_band_a_row_is_not_comparable_and_says_why() -> None:
    expectation = Expectation("speed", "fast", "a paper", lambda _: Measured(3.0, 2.0, 4.0, 5), why="other hardware")
    row = expectation.row(pd.DataFrame())
    assert row.verdict is Verdict.NOT_COMPARABLE
    assert row.to_json() == {
        "quantity": "speed",
        "paper": "fast",
        "ours": 3.0,
        "lo": 2.0,
        "hi": 4.0,
        "seeds": 5,
        "verdict": "not comparable",
        "source": "a paper",
        "note": "other hardware",
    }
    assert "| speed [1] | fast | 3.0 (2.0–4.0) | 5 | not comparable |" in markdown([row])
    assert "1. a paper · other hardware" in markdown([row])


def test_the_console_cuts_no_number() -> None:
    row = Expectation(
        "a rather long quantity of something", "much " * 9, "s", lambda _: Measured(1.00891, 1.00784, 1.01002, 5), Band()
    )
    console = Console(file=io.StringIO(), width=80)
    gallery.print_produced(Produced("n", "N", "", [row.row(pd.DataFrame())], [Path("out/n.csv"), Path("out/n.png")]), console)
    assert "1.0089 (1.0078–1.0100)" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "out/n.csv .png" in console.file.getvalue()  # type: ignore[attr-defined]


# --- words beside the data --------------------------------------------------------------------------------------------


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([10, 50, 90], [8, 8, 8]).tolist() == [10, 50, 90]


def test_two_labels_in_one_place_share_the_way() -> None:
    assert spread([50, 50], [10, 10]).tolist() == [45, 55]


def test_labels_stay_inside_where_they_fit() -> None:
    assert spread([0, 1, 2], [10, 10, 10], 0, 100).tolist() == [5, 15, 25]
    assert spread([99, 100, 100], [10, 10, 10], 0, 100).tolist() == [75, 85, 95]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(1, 20)), min_size=1, max_size=8))
def test_labels_never_overlap_and_no_small_shift_would_bring_them_closer(rows: list[tuple[float, float]]) -> None:
    wanted, heights = map(np.array, zip(*sorted(rows), strict=True))
    places = spread(wanted, heights)
    gaps = (heights[1:] + heights[:-1]) / 2
    assert (np.diff(places) >= gaps - 1e-9).all()
    moved = ((places - wanted) ** 2).sum()
    for i in range(len(places)):
        for j in range(i, len(places)):  # any run of neighbours, nudged either way, overlaps or is farther off
            for nudge in (-0.01, 0.01):
                other = places.copy()
                other[i : j + 1] += nudge
                assert (np.diff(other) < gaps - 1e-9).any() or ((other - wanted) ** 2).sum() >= moved - 1e-9


def canvas_with_axes() -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(3.4, 2.5))
    FigureCanvasAgg(canvas)
    axes = canvas.add_axes((0.15, 0.15, 0.6, 0.75))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return canvas, axes


def test_crowded_line_ends_get_labels_that_can_all_be_read() -> None:
    canvas, axes = canvas_with_axes()
    label_right(axes, [Label(f"line {i}", 1.0, 0.5 + i / 1000, "#000000") for i in range(7)], size=7)
    assert collisions(canvas) == []
    assert len(axes.lines) >= 6  # leader lines of those that had to move


def test_overlaps_and_words_off_the_page_are_found() -> None:
    canvas, axes = canvas_with_axes()
    axes.text(0.5, 0.5, "one")
    axes.text(0.5, 0.5, "other")
    axes.text(1.9, 0.8, "gone")
    assert collisions(canvas) == ["'gone' leaves the canvas", "'one' overlaps 'other'"]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_series_can_be_told_apart_in_grey_and_read(theme: Theme) -> None:
    looks = [series_look(i, theme) for i in range(5)]
    assert len({look["marker"] for look in looks}) == 5
    assert len({(look["marker"], look["color"], str(series_look(i, theme)["linestyle"])) for i, look in enumerate(looks)}) == 5
    shades = [contrast(colour, theme.page) for colour in ramp(7, theme)]
    assert min(shades) >= 4.5
    assert shades[-1] > 1.4 * shades[0]


# --- what comes of a figure -------------------------------------------------------------------------------------------


class Dots:
    """The smallest figure: one point per seed."""

    name = "dots"
    title = "Dots"
    source = Source("A paper", "Figure 1")
    size = (3.4, 2.0)
    caption = "One dot per seed."
    expected: Sequence[Expectation] = (
        Expectation("level", "≥ 2", "A paper", lambda frame: over_seeds(frame.set_index("seed")["value"]), Band(low=2)),
    )

    def __init__(self, scenario: Path) -> None:
        self.scenario = scenario

    def data(self, runner: Any) -> pd.DataFrame:
        return runner.sweep(Sweep(self.scenario, {"fleet.gpus": ["1"]}, (1, 2, 3), ("attainment",), ("drain=4s",)))

    def draw(self, frame: pd.DataFrame, canvas: Any, theme: Theme) -> None:
        axes = canvas.add_axes((0.2, 0.2, 0.7, 0.7))
        axes.plot(frame["seed"], frame["value"], **series_look(0, theme))


class Table:
    """A runner that has its answers ready."""

    def __init__(self, *values: float, quick: bool = False) -> None:
        self.quick, self.values = quick, values

    def sweep(self, asked: Sweep) -> Any:
        rows = [(1, seed, asked.metrics[0], value, None, None, 9) for seed, value in zip(asked.seeds, self.values, strict=True)]
        return pd.DataFrame(rows, columns=["fleet.gpus", *COLUMNS])


def test_a_figure_comes_with_data_caption_and_reproduction_table(scenario: Path, tmp_path: Path) -> None:
    made = produce(Dots(scenario), Table(3.0, 3.1, 2.9), tmp_path / "out")
    assert [path.name for path in made.files] == [
        "dots.caption.txt", "dots.csv", "dots.json", "dots.md", "dots.png", "dots.svg",
    ]  # fmt: skip
    assert pd.read_csv(tmp_path / "out" / "dots.csv")["value"].tolist() == [3.0, 3.1, 2.9]
    facts = json.loads((tmp_path / "out" / "dots.json").read_text())
    assert facts["reproduction"][0]["verdict"] == "agrees"
    assert facts["source"] == "A paper, Figure 1"
    assert facts["provenance"]["seeds"] == [1, 2, 3]
    assert facts["provenance"]["scenarios"][0]["varied"] == ["fleet.gpus"]
    page = (tmp_path / "out" / "dots.md").read_text()
    assert "| level [1] | ≥ 2 | 3.00 (2.75–3.25) | 3 | agrees |" in page
    assert "![Dots](dots.png)" in page


def test_the_caption_tells_what_was_run_and_where_step_times_come_from(scenario: Path, tmp_path: Path) -> None:
    from sim.manifest import decisive
    from traces.hashes import hash_config
    from traces.scenario import load_scenario

    made = produce(Dots(scenario), Table(1.0, 1.0, 1.0), tmp_path / "out")
    assert made.caption.startswith("Dots. One dot per seed. Simulated: llama-3.1-8b (bf16) on H200, azure-2023-conv requests")
    assert "Poisson arrivals, SLO TTFT 500 ms and TPOT 30 ms, 5 s of arrivals" in made.caption
    assert hash_config(decisive(load_scenario(scenario, ["drain=4s"]).resolved())) in made.caption
    assert "assembled from published operator tables, not measured here" in made.caption
    assert made.caption.endswith("Seeds 1–3.")
    assert (tmp_path / "out" / "dots.caption.txt").read_text() == made.caption + "\n"
    quick = produce(Dots(scenario), Table(1.0, 1.0, 1.0, quick=True), tmp_path / "out")
    assert quick.caption.endswith("not for quoting.")


def test_the_same_data_give_the_same_bytes(scenario: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        produce(Dots(scenario), Table(3.0, 3.1, 2.9), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_figure_that_fails_leaves_the_last_one_alone(scenario: Path, tmp_path: Path) -> None:
    class Broken(Dots):
        def draw(self, frame: pd.DataFrame, canvas: Any, theme: Theme) -> None:
            raise ZeroDivisionError

    produce(Dots(scenario), Table(3.0, 3.1, 2.9), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ZeroDivisionError):
        produce(Broken(scenario), Table(1.0, 1.0, 1.0), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_folder_that_cannot_be_written_is_the_users_fault(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        produce(Dots(scenario), Table(3.0, 3.1, 2.9), tmp_path / "file" / "out")


# --- the runner -------------------------------------------------------------------------------------------------------


def test_a_sweep_is_a_tidy_table(scenario: Path, tmp_path: Path) -> None:
    runner = SweepRunner(jobs=1, cache=tmp_path / "cache")
    frame = runner.sweep(Sweep(scenario, {"workload.chat.rate": ["4/s", "8/s"]}, (1, 2), ("attainment", "ttft_s.p50")))
    assert list(frame.columns) == ["workload.chat.rate", *COLUMNS]
    assert len(frame) == 2 * 2 * 2
    assert sorted(frame["workload.chat.rate"].unique()) == [4.0, 8.0]


def test_sweeps_side_by_side_say_what_each_says_alone(scenario: Path) -> None:
    runner = SweepRunner(jobs=1)
    asked = [
        Sweep(scenario, {"workload.chat.rate": ["4/s", "8/s"]}, (1, 2), ("attainment",)),
        Sweep(scenario, {"policy.router": ["random"]}, (3,), ("ttft_s.p50",), ("workload.chat.rate=6/s",)),
    ]
    for together, alone in zip(runner.sweeps(asked), map(runner.sweep, asked), strict=True):
        pd.testing.assert_frame_equal(together, alone)


def test_each_seed_is_searched_alone(scenario: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    runner = SweepRunner(jobs=1, cache=tmp_path / "cache", watch=lambda done, total: told.append((done, total)))
    router = {"policy.router": ["random"]}
    asked = Highest(scenario, "workload.chat.rate", ("5/s", "80/s"), router, (1, 2), "attainment", at_least=0.9, within=0.2)
    frame = runner.highest(asked)
    assert list(frame.columns) == ["policy.router", *COLUMNS]
    assert frame["value"].between(5, 80).all()
    assert frame["value"].nunique() == 2
    assert told == [(1, 2), (2, 2)]
    alone = runner.highest(replace(asked, seeds=(2,)))
    assert alone["value"].tolist() == frame["value"].tolist()[1:]


def test_a_run_that_cannot_be_is_told(scenario: Path) -> None:
    with pytest.raises(InputError, match="router"):
        SweepRunner(jobs=1).sweep(Sweep(scenario, {"policy.router": ["nonesuch"]}, (1,), ("attainment",)))


# --- the gallery ------------------------------------------------------------------------------------------------------


def test_every_figure_has_what_the_frame_needs() -> None:
    for name in gallery.names():
        figure = gallery.figure(name)
        assert figure.name == name
        assert figure.title
        assert figure.caption.endswith(".")
        assert figure.size[0] in (3.4, 7.0)
        assert figure.expected
        for expectation in figure.expected:
            assert expectation.agrees is not None or expectation.why


def test_all_means_each_once_and_a_slip_is_corrected() -> None:
    assert [figure.name for figure in gallery.chosen(["all", gallery.names()[0]])] == gallery.names()
    with pytest.raises(InputError, match="did you mean budget-pareto"):
        gallery.chosen(["budget-parete"])


def test_the_gallery_loads_no_figure_before_it_is_asked_for() -> None:
    code = "import sys, figures.gallery; print(*[m for m in ('figures.baselines', 'matplotlib', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip() == ""
