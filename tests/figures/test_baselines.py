"""The baseline figures: the data of their quick setting is pinned, and what is drawn of it can be read.

After a deliberate change of the simulator, ``python -m tests.figures.test_baselines`` writes the pinned data anew.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from figures import gallery
from figures.frame import drawn
from figures.labels import collisions
from figures.runner import SweepRunner
from figures.style import DARK, LIGHT, Theme

GOLDEN = Path(__file__).with_name("golden")
NAMES = ("router-attainment", "budget-pareto")
_TEXTS: Any = {"budget_tokens": str}


def quick_data(name: str, cache: Path) -> pd.DataFrame:
    return gallery.figure(name).data(SweepRunner(quick=True, jobs=2, cache=cache))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    cache = tmp_path_factory.mktemp("cache")
    return {name: quick_data(name, cache) for name in NAMES}


def golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"{name}.csv", dtype=_TEXTS)


@pytest.mark.parametrize("name", NAMES)
def test_the_data_are_as_pinned(name: str, data: dict[str, pd.DataFrame]) -> None:
    pd.testing.assert_frame_equal(data[name].reset_index(drop=True), golden(name), check_dtype=False, rtol=1e-6)


def test_every_router_gets_the_same_requests(data: dict[str, pd.DataFrame]) -> None:
    frame = data["router-attainment"]
    offered = frame[frame["metric"] == "attainment"].groupby(["seed", "rate_per_s"])["n"]
    assert (offered.nunique() == 1).all()
    assert (offered.size() == 5).all()


def test_a_blind_draw_is_the_worst_router(data: dict[str, pd.DataFrame]) -> None:
    frame = data["router-attainment"]
    knees = frame[frame["metric"] == "rate@90"].groupby("router")["value"].mean()
    assert knees.idxmin() == "random"


def test_sarathi_with_vllms_budget_is_vllm(data: dict[str, pd.DataFrame]) -> None:
    frame = data["budget-pareto"].set_index("budget_tokens")
    pd.testing.assert_frame_equal(frame.loc["8192"].reset_index(drop=True), frame.loc["vllm"].reset_index(drop=True))


def test_a_larger_budget_lengthens_the_tail_of_the_gaps(data: dict[str, pd.DataFrame]) -> None:
    frame = data["budget-pareto"]
    tail = frame[(frame["metric"] == "itl_s.p99") & (frame["in_flight"] == 64)].groupby("budget_tokens")["value"].mean()
    assert tail["512"] < tail["2048"] < tail["8192"]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("name", NAMES)
def test_all_words_can_be_read(name: str, theme: Theme) -> None:
    assert collisions(drawn(gallery.figure(name), golden(name), theme)) == []


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_is_drawn_without_intervals_and_decides_nothing(name: str) -> None:
    frame = golden(name)
    figure, alone = gallery.figure(name), frame[frame["seed"] == 1]
    assert collisions(drawn(figure, alone)) == []
    assert {row.verdict.value for row in (e.row(alone) for e in figure.expected)} <= {"cannot tell", "not comparable"}


def test_a_router_whose_rate_is_outside_the_search_is_shown_as_unknown() -> None:
    frame = golden("router-attainment")
    frame.loc[(frame["metric"] == "rate@90") & (frame["router"] == "random"), "value"] = float("nan")
    canvas = drawn(gallery.figure("router-attainment"), frame)
    assert collisions(canvas) == []
    assert "–" in {text.get_text() for text in canvas.axes[1].texts}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for each in NAMES:
            quick_data(each, Path(folder)).to_csv(GOLDEN / f"{each}.csv", index=False, lineterminator="\n")
