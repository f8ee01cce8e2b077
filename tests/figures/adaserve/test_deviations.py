"""How far systems are from their own digitised curves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from figures.adaserve import digitised
from figures.adaserve.deviations import FIGURES, off, repeats, table
from figures.adaserve.settings import ADASERVE, DEPLOYMENTS, LLAMA, PAPERS, VLLM
from traces.errors import InputError


def measured(values: dict[float, float], system: str = ADASERVE) -> pd.DataFrame:
    """Two seeds around attainments by x."""
    rows = [
        (seed, "attainment", value + 0.01 * sign, x, system, "llama")
        for x, value in values.items()
        for seed, sign in ((1, 1), (2, -1))
    ]
    return pd.DataFrame(rows, columns=["seed", "metric", "value", "x", "system", "model"])


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digitised, "curve", lambda *_: {2.0: 90.0, 4.0: 70.0})


@pytest.mark.usefixtures("curves")
def test_a_deviation_has_a_sign_a_size_and_a_worst_place() -> None:
    found = off(
        measured({2.0: 0.88, 3.0: 0.90, 4.0: 0.60, 5.0: 0.0}), "fig8", LLAMA, ADASERVE
    )  # the paper has 80 at 3, nothing at 5
    assert found is not None
    assert found.mean == pytest.approx(-2 / 3)
    assert found.mean_abs == pytest.approx(22 / 3)
    assert abs(found.largest) == pytest.approx(10)


@pytest.mark.usefixtures("curves")
def test_of_a_system_that_was_not_run_nothing_is_said() -> None:
    assert off(measured({2.0: 0.9}), "fig8", LLAMA, VLLM) is None


def test_without_a_figures_file_it_says_how_to_make_it(tmp_path: Path, shared_data: Path) -> None:
    with pytest.raises(InputError, match="twinserve figures adaserve-rates"):
        list(table(tmp_path))


def test_the_table_has_a_row_for_every_system(tmp_path: Path, shared_data: Path) -> None:
    for figure in FIGURES:
        measured({4.0: 0.9}).to_csv(tmp_path / f"{figure.name}.csv", index=False)
    assert len(list(table(tmp_path))) == 2 + len(DEPLOYMENTS) * len(PAPERS)


def test_the_papers_own_figures_differ_where_they_have_the_same_point(shared_data: Path) -> None:
    apart = {tuple(cell.strip() for cell in row.split("|")[1:3]): float(row.split("|")[-2]) for row in list(repeats())[2:]}
    assert len(apart) == len(DEPLOYMENTS) * len(PAPERS)
    assert apart["Llama-3.1-70B", "AdaServe"] < 2 < 17 < apart["Llama-3.1-70B", "vLLM-Spec(8)"]
    assert apart["Qwen2.5-32B", "vLLM-Spec(8)"] == pytest.approx(18.8)
