"""A system's constants are found where they were put in, by rows of the fit part, and not by a few bad ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from figures.validation import fitting
from figures.validation.measured import ClosedLoop, Measured
from traces.assembly.correction import Correction
from traces.corrections import System

GRID = [(c, prompt) for c in (1, 2, 4, 8, 16, 32, 64, 128) for prompt in (512, 2048, 8192)]


def rows(model: str = "llama-3.1-8b") -> list[Measured]:
    from tests.figures.validation.rows import row

    plain = [row(id=f"{c}x{p}", model=model, load=ClosedLoop(c, 10 * c, 0.8), prompt_tokens=p) for c, p in GRID]
    return [made(one) for one in plain]


def latencies(row: Measured, system: System | None) -> tuple[float, float]:
    """TTFT and TPOT of a server that is simple enough to be worked out."""
    by = system.correction if system else Correction()
    front = (system.frontend_s, system.frontend_per_token_s) if system else (5e-3, 3e-6)
    c = row.concurrency or 1
    step = by.pace * (5e-3 + 4e-5 * c + by.context_pace * 1e-9 * c * row.prompt_tokens) + by.step_s + by.request_s * c
    prefill = by.pace * by.prefill_pace * 3e-5 * row.prompt_tokens + by.eager_s
    return front[0] + front[1] * row.prompt_tokens + prefill + step, step + c * prefill / row.output_tokens / 10


def run(tasks: Sequence[tuple[Measured, System | None]]) -> list[tuple[float, float]]:
    return [latencies(row, system) for row, system in tasks]


PUT_IN = Correction(pace=1.05, step_s=1e-3, prefill_pace=1.8, eager_s=0.01)


def made(row: Measured) -> Measured:
    from dataclasses import replace

    system = System("m", "g", "bf16", "vllm 1", PUT_IN, 5e-3, 3e-6)
    ttft, tpot = latencies(row, system)
    return replace(row, ttft_s=ttft, tpot_s=tpot)


def fitted(measured: list[Measured]) -> fitting.Search:
    search = fitting.started(measured)
    for number in range(fitting.ROUNDS):
        fitting.improve([search], run, differences=number % 2 == 0)
    return search


def worst(measured: Sequence[Measured], system: System) -> float:
    errors = [np.divide(latencies(row, system), (row.ttft_s, row.tpot_s)) - 1 for row in measured]
    return float(np.abs(errors).max())


def test_the_constants_found_explain_the_measurements_that_others_made() -> None:
    measured = rows()
    search = fitted(measured)
    assert worst(measured, search.at(search.here * 0)) > 0.3
    assert worst(measured, search.at(search.best[1])) < 0.02
    assert search.at(search.best[1]).correction.prefill_pace == pytest.approx(1.8, rel=0.1)


def test_a_few_rows_that_are_wrong_otherwise_do_not_set_the_constants() -> None:
    from dataclasses import replace

    good = rows()
    bad = [replace(row, ttft_s=row.ttft_s * 8, tpot_s=row.tpot_s * 8) if i in (3, 17) else row for i, row in enumerate(good)]
    search = fitted(bad)
    assert worst(good, search.at(search.best[1])) < 0.04


def test_no_time_is_negative_and_dense_models_have_no_experts() -> None:
    search = fitted(rows())
    assert "expert_pace" not in search.names
    assert "expert_pace" in fitting.started(rows("mixtral-8x7b")).names
    numbers = search.at(search.best[1] - 5).correction
    assert min(numbers.step_s, numbers.request_s, numbers.eager_s) == 0


def test_cross_validation_predicts_a_row_without_having_seen_it() -> None:
    from dataclasses import replace

    measured = rows()
    clean = fitting.cross_validated([fitted(measured)], run)[0]
    assert np.abs(clean).max() < 0.03
    measured[7] = replace(measured[7], ttft_s=measured[7].ttft_s / 50, tpot_s=measured[7].tpot_s / 50)
    told = fitting.cross_validated([fitted(measured)], run)[0]
    assert told[7].tolist() == pytest.approx([49, 49], rel=0.1)
    assert np.abs(np.delete(told, 7, axis=0)).max() < 0.05
