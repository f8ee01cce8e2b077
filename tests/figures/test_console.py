"""One screen of a terminal: verdict first, warnings last, every number whole."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from figures.console import print_summary
from tests.figures.synthetic import synthetic_record
from traces.metrics import summarise
from traces.record import Record


def printed(record: Record, **console: Any) -> str:
    out = io.StringIO()
    print_summary(record, summarise(record), Console(file=out, **console))
    return out.getvalue()


@pytest.fixture(scope="module")
def record() -> Record:
    return synthetic_record(manifest={"warnings": ["step times are extrapolated"]})


def test_the_verdict_comes_first_and_the_warnings_last(record: Record) -> None:
    lines = printed(record).rstrip().splitlines()
    assert lines[0].startswith("Too close to call. 90.7 % of 4,787 offered requests")
    assert lines[-1] == "Warning: step times are extrapolated"


def test_it_fits_one_screen_of_80_columns(record: Record) -> None:
    lines = printed(record).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 32


def test_output_that_is_not_a_terminal_does_not_depend_on_one(record: Record) -> None:
    assert printed(record) == printed(record, width=200) == printed(record, width=40)
    assert "\x1b" not in printed(record)


def test_a_terminal_gets_colour_and_its_own_width(record: Record) -> None:
    text = printed(record, force_terminal=True, width=120, color_system="standard")
    assert "\x1b[" in text


def test_rows_carry_units_and_cells_carry_intervals(record: Record) -> None:
    text = printed(record)
    assert re.search(r"^attainment % +90\.7  \d+–\d+ ", text, re.M)
    assert re.search(r"^TTFT p99 +s +3\.3\d* +≥ 1\.\d+ .* 3\.59ᵃ ≥ 0\.\d+$", text, re.M)
    assert re.search(r"^ᵃ only about \d+ independent excursions? beyond p99", text, re.M)
    assert re.search(r"^completed +4,727 +3,338 +1,389$", text, re.M)


@pytest.mark.parametrize("tiers", [1, 3, 8])
def test_no_number_is_cut_however_many_tiers_there_are(tiers: int) -> None:
    record = with_tiers(tiers)
    text = printed(record)
    assert "…" not in text
    for metrics in summarise(record).tiers.values():
        assert f"{metrics['requests.offered'].value:,}" in text
    assert all(f"tier-{i}-" in text for i in range(tiers))


def test_what_is_unknown_is_shown_as_a_dash() -> None:
    record = synthetic_record(3, 1, 1e-3)
    line = next(line for line in printed(record).splitlines() if line.startswith("E2E p99"))
    assert "–" in line
    assert "0" not in line


def test_a_tier_called_like_markup_is_printed_as_it_is() -> None:
    assert "[red]x[/red]" in printed(with_tiers(2, name="[red]x[/red]"))


def with_tiers(n: int, name: str = "with-a-long-name") -> Record:
    """The synthetic record dealt out to ``n`` tiers in turn."""
    import dataclasses

    import numpy as np
    import pyarrow as pa

    record = synthetic_record(900, 2, 120.0)
    codes = pa.array(np.arange(900) % n, pa.int32())
    tiers = pa.DictionaryArray.from_arrays(codes, [f"tier-{i}-{name}" for i in range(n)])
    column = record.requests.column_names.index("tier")
    return dataclasses.replace(record, requests=record.requests.set_column(column, record.requests.schema.field("tier"), tiers))
