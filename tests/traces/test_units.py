"""Quantities are read as people write them, and what cannot be read is refused with the accepted forms."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("20min", 1200),
        ("1.5h", 5400),
        ("1h30min", 5400),
        ("1h 30min 5s", 5405),
        (" 30 s ", 30),
        ("250us", 250e-6),
        ("250µs", 250e-6),
        ("2d", 172800),
        (".5s", 0.5),
        ("1e-3s", 1e-3),
        ("0s", 0),
        (7, 7.0),
        (0.25, 0.25),
        ("12", 12.0),
    ],
)
def test_durations_are_seconds(text: object, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "rate"), [("12/s", 12), ("720/min", 12), ("36 / h", 0.01), ("0.5/s", 0.5), ("2/ms", 2000), (3, 3.0)]
)
def test_rates_are_per_second(text: object, rate: float) -> None:
    assert units.parse_rate(text) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(("text", "size"), [("40GiB", 40 * 2**30), ("80GB", 80 * 10**9), ("1.5KiB", 1536), ("7B", 7), (4096, 4096)])
def test_sizes_are_whole_bytes(text: object, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("100%", 1.0), ("0.5 %", 0.005), (0.25, 0.25), (1, 1.0), (0, 0.0)])
def test_shares_are_fractions_of_one(text: object, share: float) -> None:
    assert units.parse_fraction(text) == pytest.approx(share)


NONSENSE = [
    "",
    "fast",
    "12 parsecs",
    "-3",
    -3,
    "-5s",
    True,
    None,
    [],
    {},
    math.nan,
    math.inf,
    "nan",
    "inf",
    "1e999",
    "1e999s",
    10**400,
]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize(
    ("parse", "form"),
    [
        (units.parse_duration, "500ms"),
        (units.parse_rate, "12/s"),
        (units.parse_size, "40GiB"),
        (units.parse_fraction, "10%"),
    ],
)
def test_what_is_no_quantity_is_refused_with_an_example_of_one(parse: object, form: str, value: object) -> None:
    with pytest.raises(ValueError) as refusal:
        parse(value)  # type: ignore[operator]
    message = str(refusal.value)
    assert form in message
    assert "\n" not in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_duration, "12/s"),
        (units.parse_duration, "5m"),
        (units.parse_rate, "5s"),
        (units.parse_size, "5s"),
        (units.parse_fraction, "5s"),
    ],
)
def test_a_quantity_of_another_kind_is_refused(parse: object, text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse(text)  # type: ignore[operator]


def test_more_than_the_whole_is_no_share() -> None:
    with pytest.raises(ValueError, match="more than the whole"):
        units.parse_fraction("101%")


def test_a_quantity_of_any_kind_is_recognised_by_its_unit() -> None:
    assert [units.parse_quantity(text) for text in ("10%", "5ms", "3/s", "1KiB", "fast", "12")] == [
        0.1,
        0.005,
        3.0,
        1024,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (units.format_duration(0.5), "500ms"),
        (units.format_duration(90), "1.5min"),
        (units.format_duration(5400), "1.5h"),
        (units.format_duration(0), "0s"),
        (units.format_rate(12), "12/s"),
        (units.format_rate(0.75), "45/min"),
        (units.format_rate(1234.5678), "1235/s"),
        (units.format_size(40 * 2**30), "40GiB"),
        (units.format_size(512), "512B"),
        (units.format_fraction(0.125), "12.5%"),
    ],
)
def test_quantities_are_shown_in_the_unit_that_suits_them(shown: str, text: str) -> None:
    assert shown == text


amounts = st.floats(min_value=0, max_value=1e9, allow_subnormal=False).filter(lambda x: x == 0 or x > 1e-6)


@given(amounts)
def test_what_is_shown_reads_back_to_four_digits(value: float) -> None:
    assert units.parse_duration(units.format_duration(value)) == pytest.approx(value, rel=1e-3)
    assert units.parse_rate(units.format_rate(value)) == pytest.approx(value, rel=1e-3)
    assert units.parse_size(units.format_size(round(value))) == pytest.approx(round(value), rel=1e-3)
    assert units.parse_fraction(units.format_fraction(value % 1)) == pytest.approx(value % 1, rel=1e-3)


@given(st.text())
def test_every_text_is_read_as_a_quantity_or_refused(text: str) -> None:
    for parse in (units.parse_duration, units.parse_rate, units.parse_size, units.parse_fraction):
        with contextlib.suppress(ValueError):
            assert 0 <= parse(text) < math.inf
