"""Step times otherwise than the artifact's table has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures.adaserve.differences.machines import other, scaled, straight
from figures.adaserve.differences.systems import VERIFY
from figures.adaserve.settings import LLAMA, fingerprint
from policies.latency import FingerprintLatency, StepShape
from traces.fingerprints import read_fingerprint


def took_ms(override: str, *tokens: int) -> list[float]:
    """What steps of so many decodes take."""
    latency = FingerprintLatency(read_fingerprint(Path(override.partition("=")[2])))
    return [1e3 * latency.seconds(StepShape(0, 0, 0, count, 0, 0)) for count in tokens]


def test_the_straight_line_joins_the_time_without_load_to_the_tables_first_row(tmp_path: Path) -> None:
    assert took_ms(straight(tmp_path), 1, 64, 128, 256) == pytest.approx([30, 42.4, 55, 85], abs=0.1)


def test_figure_15_and_the_passes_that_the_paper_tells_make_verifying_faster_than_the_table(tmp_path: Path) -> None:
    assert pytest.approx(86.6 / 125, abs=1e-3) == VERIFY
    assert took_ms(scaled(LLAMA, tmp_path, VERIFY), 1, 90, 128, 512) == pytest.approx([30, 30, 55 * VERIFY, 86.6], abs=0.1)


def test_unscaled_is_the_deployments_own(tmp_path: Path) -> None:
    assert read_fingerprint(Path(scaled(LLAMA, tmp_path, 1.0).partition("=")[2])).terms == fingerprint(LLAMA).terms


def test_machines_have_files_of_their_own_because_a_file_is_read_once(tmp_path: Path) -> None:
    files = {straight(tmp_path), straight(tmp_path, VERIFY), scaled(LLAMA, tmp_path, VERIFY), other(LLAMA, tmp_path, overhead=1e-3)}
    assert len(files) == 4
