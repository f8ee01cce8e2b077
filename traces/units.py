"""Quantities as people write them: `500ms`, `20min`, `1h30min`, `12/s`, `720/min`, `40GiB`, `10%`.

Parsers return SI values (seconds, per second, bytes, fractions) and take plain numbers in the same units, so that what a
resolved scenario holds reads back. Formatters write what the parsers read, to four significant digits, for tables and messages.
All quantities are finite and not negative. Every ``ValueError`` says what is accepted, ready to be shown.
"""

from __future__ import annotations

import math
import re

SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)"
_DURATION = re.compile(rf"{_NUMBER}\s*({'|'.join(SECONDS)})\s*")
_RATE = re.compile(rf"{_NUMBER}\s*/\s*({'|'.join(SECONDS)})")
_SIZE = re.compile(rf"{_NUMBER}\s*({'|'.join(BYTES)})")
_FRACTION = re.compile(rf"{_NUMBER}\s*%")


def parse_duration(value: object) -> float:
    """Seconds, from `500ms`, `20min`, `1.5h`, `1h30min` or a plain number of seconds.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, str):
        parts, end = [], 0
        for match in _DURATION.finditer(value.strip()):
            if match.start() != end:
                break
            parts.append(float(match[1]) * SECONDS[match[2]])
            end = match.end()
        if parts and end == len(value.strip()) and math.isfinite(sum(parts)):
            return sum(parts)
    return _plain(value, "duration", "write it like 500ms, 30s, 20min, 1.5h or 1h30min (a plain number counts seconds)")


def parse_rate(value: object) -> float:
    """Events per second, from `12/s`, `720/min`, `5/h` or a plain number per second.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        rate = float(match[1]) / SECONDS[match[2]]
        if math.isfinite(rate):
            return rate
    return _plain(value, "rate", "write it like 12/s, 720/min or 5/h (a plain number counts per second)")


def parse_size(value: object) -> int:
    """Bytes, from `40GiB`, `80GB`, `512MiB` or a plain number of bytes.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * BYTES[match[2]]
        if math.isfinite(size):
            return round(size)
    return round(_plain(value, "size", "write it like 40GiB, 80GB or 512MiB (a plain number counts bytes)"))


def parse_bandwidth(value: object) -> float:
    """Bytes per second, from `50GB/s`, `400MiB/s` or a plain number of bytes per second.

    Raises:
        ValueError: anything else.
    """
    accepted = "write it like 50GB/s or 400MiB/s (a plain number counts bytes per second)"
    if isinstance(value, str) and value.strip().endswith("/s"):
        try:
            return float(parse_size(value.strip().removesuffix("/s")))
        except ValueError:
            pass
    return _plain(value, "bandwidth", accepted)


def parse_fraction(value: object) -> float:
    """A share of one, from `10%` or a plain number between 0 and 1.

    Raises:
        ValueError: anything else, more than 100 % included.
    """
    accepted = "write a percentage such as 10%, or a number from 0 to 1"
    if isinstance(value, str) and (match := _FRACTION.fullmatch(value.strip())):
        share = float(match[1]) / 100
    else:
        share = _plain(value, "share", accepted)
    if share > 1:
        raise ValueError(f"`{value}` is more than the whole; {accepted}")
    return share


def parse_quantity(text: str) -> float | None:
    """The SI value of a text that carries a unit, of whichever kind; ``None`` when it is no such text."""
    if text.strip()[-1:].isdigit():
        return None
    for parse in (parse_duration, parse_rate, parse_size, parse_fraction):
        try:
            return parse(text)
        except ValueError:
            continue
    return None


def format_duration(seconds: float) -> str:
    """`500ms`, `1.5s`, `20min`, `2.5h`."""
    if seconds < 1e-3:
        unit = "us" if seconds > 0 else "s"
    elif seconds < 1:
        unit = "ms"
    else:
        unit = "s" if seconds < 60 else "min" if seconds < 3600 else "h" if seconds < 2 * 86400 else "d"
    return f"{_digits(seconds / SECONDS[unit])}{unit}"


def format_rate(per_second: float) -> str:
    """`12/s`; below one per second `45/min`, below one per minute `5/h`."""
    unit = "s" if per_second >= 1 or per_second == 0 else "min" if per_second * 60 >= 1 else "h"
    return f"{_digits(per_second * SECONDS[unit])}/{unit}"


def format_size(size: float) -> str:
    """In binary units: `40GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= BYTES[unit]:
            return f"{_digits(size / BYTES[unit])}{unit}"
    return f"{_digits(size)}B"


def format_fraction(share: float) -> str:
    """`10%`."""
    return f"{_digits(share * 100)}%"


def _digits(value: float) -> str:
    """Four significant digits, whole numbers in full, no exponent before 10^15."""
    rounded = float(f"{value:.4g}")
    return f"{rounded:.0f}" if rounded.is_integer() and rounded < 1e15 else f"{rounded:g}"


def _plain(value: object, kind: str, accepted: str) -> float:
    """A bare number, or the text of one."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        shown = "nothing" if value is None else f"`{value if len(str(value)) <= 40 else str(value)[:40] + '…'}`"
        raise ValueError(f"{shown} is not a {kind}; {accepted}")
    return number
