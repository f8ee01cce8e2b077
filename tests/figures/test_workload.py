"""The view of a workload: what the console says, and a picture that is complete or not there."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from figures.style import DARK
from figures.workload import dispersion_curve, draw, print_workload, sparkline
from traces.arrivals import Even
from traces.lengths import Fixed, LengthModel
from traces.synthesis import builtin, synthesise
from traces.transforms import assign_mix, superpose
from traces.workload import RequestClass, Workload


def printed(workload: Workload, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_workload(workload, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_console_tells_load_burstiness_lengths_and_provenance() -> None:
    text = printed(builtin("azure-2023-code", seed=2))
    assert text.startswith("azure-2023-code\nfitted to Azure/AzurePublicDataset")
    assert "licence CC-BY-4.0" in text
    assert "7,491 requests ·" in text
    assert "Index of dispersion" in text
    assert "(Poisson 1)" in text
    assert "prompt" in text
    assert "7,437" in text  # the longest prompt


def test_the_console_tells_prefix_sharing_where_the_workload_does() -> None:
    assert "of 512 tokens would hit an endless cache" in printed(builtin("mooncake-conversation", seed=1), 200)
    assert "endless cache" not in printed(builtin("azure-2023-conv", seed=1, requests=50))


def test_the_console_counts_classes_and_repeats_notes() -> None:
    mixed = assign_mix(
        builtin("azure-2023-conv", seed=1, requests=400), [(RequestClass("gold"), 1), (RequestClass("silver"), 1)], 1
    )
    text = printed(mixed, 120)
    assert "classes: gold" in text
    assert "note: classes drawn at random (50% gold, 50% silver), seed 1" in text


@pytest.mark.parametrize("arrivals", [[3.0], [0.0, 0.0], [0.0, 1.0]])
def test_tiny_workloads_are_shown_and_drawn_without_complaint(arrivals: list[float], tmp_path: Path) -> None:
    workload = Workload.make(arrivals, np.full(len(arrivals), 5), np.full(len(arrivals), 2), source={"name": "tiny"})
    text = printed(workload)
    assert text.startswith("tiny")
    assert "nan" not in text
    assert ("all at once" in text) == (workload.duration_s == 0)
    draw(workload, tmp_path / "tiny.png")


def test_equal_gaps_are_drawn_too(tmp_path: Path) -> None:
    draw(synthesise(Even(), LengthModel(Fixed(8), Fixed(8)), seed=1, rate=2.0, requests=500), tmp_path / "even.png")
    assert (tmp_path / "even.png").exists()


def test_no_line_is_wider_than_the_console() -> None:
    workload = superpose(
        [builtin("mooncake-conversation", seed=1, requests=500), builtin("sharegpt", seed=1, rate=2.0, requests=50)]
    )
    assert max(map(len, printed(workload).splitlines())) <= 80


def test_a_sparkline_is_blank_for_nothing_and_full_for_the_most() -> None:
    assert sparkline(np.array([0.0, 0.1, 4.0, 8.0])) == " ▁▄█"
    assert sparkline(np.zeros(3)) == "   "


def test_the_dispersion_curve_is_flat_at_one_for_poisson_and_rises_for_bursts() -> None:
    windows, index = dispersion_curve(builtin("sharegpt", seed=1, rate=5.0, requests=40_000))
    assert (np.diff(windows) > 0).all()
    np.testing.assert_allclose(index[windows < 30], 1.0, atol=0.2)
    _, bursty = dispersion_curve(builtin("azure-2023-code", seed=1, requests=40_000))
    assert bursty[0] < bursty[20] < bursty[-1]


def test_the_picture_is_written_whole_in_either_theme(tmp_path: Path) -> None:
    workload = builtin("azure-2023-conv", seed=1, requests=3000)
    draw(workload, tmp_path / "w.png")
    draw(workload, tmp_path / "dark.png", DARK)
    for name in ("w.png", "dark.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dark.png", "w.png"]


def test_an_svg_is_well_formed_and_the_same_every_time(tmp_path: Path) -> None:
    workload = builtin("azure-2023-conv", seed=1, requests=1000)
    draw(workload, tmp_path / "a.svg")
    draw(workload, tmp_path / "b.svg")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not supported"):
        draw(builtin("azure-2023-conv", seed=1, requests=50), tmp_path / "w.xyz")
    assert not list(tmp_path.iterdir())
