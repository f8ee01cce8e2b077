"""Azure's traces: three ways of writing time, one table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from traces.readers import read


def azure(path: Path, *stamps: str, images: bool = False) -> Path:
    header = "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens" if images else "TIMESTAMP,ContextTokens,GeneratedTokens"
    rows = [f"{stamp},{f'{i % 2},' if images else ''}{100 + i},{10 + i}" for i, stamp in enumerate(stamps)]
    path.write_text("\n".join([header, *rows]))  # no newline at the end
    return path


@pytest.mark.parametrize(
    "stamps",
    [
        ("2023-11-16 18:15:46.6805900", "2023-11-16 18:15:50.9951690"),
        ("2024-05-10 00:00:00+00:00", "2024-05-10 00:00:04.314579+00:00"),
        ("2024-10-15T12:00:00.269Z", "2024-10-15T12:00:04.583579Z"),
    ],
    ids=["2023", "2024", "2025"],
)
def test_time_counts_from_the_first_request_to_the_tenth_of_a_microsecond(tmp_path: Path, stamps: tuple[str, ...]) -> None:
    workload = read(azure(tmp_path / "a.csv", *stamps))
    assert workload.arrival_s.tolist() == [0.0, pytest.approx(4.314579, abs=1e-9)]
    assert workload.prompt_tokens.tolist() == [100, 101]
    assert workload.output_tokens.tolist() == [10, 11]
    assert (workload.prompt_tokens.dtype, workload.arrival_s.dtype) == (np.int32, np.float64)


def test_seven_digits_survive(tmp_path: Path) -> None:
    workload = read(azure(tmp_path / "a.csv", "2023-11-16 18:15:46.0000000", "2023-11-16 18:15:46.0000001"))
    assert workload.arrival_s[1] == 1e-7


def test_images_are_counted_in_the_notes(tmp_path: Path) -> None:
    workload = read(azure(tmp_path / "a.csv", "2024-10-15T12:00:00.269Z", "2024-10-15T12:00:00.269Z", images=True))
    assert workload.source["notes"] == ["1 of 2 requests carry images; only their context tokens are kept"]


@pytest.mark.parametrize("kind", ["conv", "code"])
def test_the_published_slices_have_the_known_statistics(shared_data: Path, kind: str) -> None:
    facts = json.loads((shared_data / "facts.json").read_text())[f"azure2023_{kind}"]
    workload = read(shared_data / "traces" / "azure2023" / facts["file"])
    assert len(workload) == facts["rows"]
    assert workload.duration_s == pytest.approx(facts["duration_s"], abs=1e-9)
    assert workload.mean_rate == pytest.approx(facts["mean_rate_rps"], rel=1e-9)
    for column, expected in ((workload.prompt_tokens, facts["input_tokens"]), (workload.output_tokens, facts["output_tokens"])):
        assert column.mean() == pytest.approx(expected["mean"])
        quantiles = {q: float(np.quantile(column, float(q) / 100)) for q in expected["quantiles"]}
        assert quantiles == pytest.approx(expected["quantiles"])
    gaps = np.diff(workload.arrival_s)
    assert gaps.std(ddof=1) / gaps.mean() == pytest.approx(facts["iat"]["cv"], rel=1e-3)
    per_minute = np.histogram(workload.arrival_s, np.arange(len(facts["rate_per_minute"]) + 1) * 60.0)[0]
    assert per_minute.tolist() == facts["rate_per_minute"]
    assert workload.source["licence"] == "CC-BY-4.0"
