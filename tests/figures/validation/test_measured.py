"""The split is by rule, and repeated measurements of one configuration stay together."""

from __future__ import annotations

import pytest

from figures.validation.measured import ClosedLoop, Stages, library_name
from tests.figures.validation.rows import row


def test_the_split_does_not_depend_on_what_was_measured_or_when() -> None:
    assert row().part == row(id="b", ttft_s=9.0, tpot_s=1.0, version="0.1", dataset="another").part


def test_about_half_of_the_configurations_are_held_out() -> None:
    parts = [row(load=ClosedLoop(c, 10 * c, 1.0)).part for c in range(1, 401)]
    assert 160 < parts.count("held out") < 240


def test_the_stages_of_one_run_are_in_the_same_part() -> None:
    parts = {row(id=f"run/codegen/stage {i}", load=Stages((float(i + 1),), (600.0,))).part for i in range(8)}
    assert len(parts) == 1


@pytest.mark.parametrize(
    ("hub", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b"),
        ("MiniMaxAI/MiniMax-M2.5", "minimax-m2"),
    ],
)
def test_models_have_the_librarys_names(hub: str, name: str) -> None:
    assert library_name(hub) == name
