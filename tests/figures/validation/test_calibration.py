"""A system's constants are found where they were put in, never negative, and not by a few bad rows."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from figures.validation.calibration import Calibration, calibrated, cross_validated, fit

MADE = Calibration(pace=0.9, step_s=1e-3, request_s=4e-5, prefill_pace=1.2, base_s=5e-3, token_s=2e-6, waited_steps=2.0)


def rows(made: Calibration = MADE) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 60
    table = pd.DataFrame({"running": rng.uniform(1, 128, n), "prompt_tokens": rng.uniform(100, 8000, n)})
    table["sim_tpot_s"] = 0.005 + 1e-4 * table["running"] * rng.uniform(0.5, 2, n)
    table["sim_ttft_s"] = 0.02 + 3e-5 * table["prompt_tokens"] * rng.uniform(0.5, 2, n)
    table["ttft_s"], table["tpot_s"] = calibrated(table, made)
    return table


def test_the_constants_that_made_the_measurements_are_found() -> None:
    assert asdict(fit(rows())) == pytest.approx(asdict(MADE), rel=0.02)


def test_a_few_rows_that_are_wrong_otherwise_do_not_set_the_constants() -> None:
    table = rows()
    table.loc[:4, ["tpot_s", "ttft_s"]] *= 10
    assert asdict(fit(table)) == pytest.approx(asdict(MADE), rel=0.1)


def test_no_constant_is_negative() -> None:
    table = rows(Calibration(step_s=-1e-3, waited_steps=-1.0))
    assert min(asdict(fit(table)).values()) >= 0


def test_too_few_rows_leave_a_system_as_it_is() -> None:
    assert not fit(rows().head(7)).fitted


def test_cross_validation_predicts_a_row_without_having_seen_it() -> None:
    table = rows().assign(id=[str(i) for i in range(60)])
    ttft, tpot = cross_validated(table)
    assert tpot == pytest.approx(table["tpot_s"].to_numpy(), rel=0.02)
    table.loc[7, ["ttft_s", "tpot_s"]] *= 50
    assert cross_validated(table)[0][7] == pytest.approx(ttft[7], rel=0.02)
