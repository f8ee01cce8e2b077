"""AdaServe with the verification time that Figure 15 leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures.adaserve.differences.verification import rows, verify
from figures.adaserve.settings import LLAMA, QWEN
from tests.figures.adaserve.test_figures import Invented


def test_figure_15_leaves_87_of_125_and_54_of_66_ms() -> None:
    assert verify(LLAMA) == pytest.approx(86.6 / 125, abs=1e-3)
    assert verify(QWEN) == pytest.approx(53.8 / 66, abs=1e-3)


def test_both_deployments_have_a_table(tmp_path: Path, shared_data: Path) -> None:
    lines = list(rows(Invented(), tmp_path))  # type: ignore[arg-type]
    assert [line.count("|") for line in lines] == 2 * [9, 9, 9, 9, 0]
