"""What GPUs cost: a table that the user can edit.

A YAML file: ``gpus:`` gives dollars per GPU and hour for each type, a number or ``{usd_per_hour: 2.20, source: …}``; what is not in
it keeps its list price. ``source:`` and ``date:`` say where the figures are from, and are shown beside an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from traces.errors import InputError
from traces.hardware import GPUS, gpu

LISTED = "rounded on-demand list prices of GPU clouds"
LISTED_DATE = "2025"
_KEYS = ("source", "date", "gpus")


@dataclass(frozen=True, slots=True)
class Prices:
    """``usd_per_gpu_hour``: the user's own, by type."""

    usd_per_gpu_hour: Mapping[str, float] = field(default_factory=dict)
    source: str = LISTED
    date: str = LISTED_DATE

    def told(self) -> str:
        """Where they are from."""
        return f"Prices: {self.source}" + (f", {self.date}" if self.date else "")


def shipped() -> str:
    """The list prices as a file, to be edited."""
    lines = [
        "# What a GPU costs in dollars an hour. Edit it, and give it to `twinserve plan SCENARIO --prices FILE`.",
        "# A type that is left out keeps its list price.",
        f"source: {LISTED}",
        f'date: "{LISTED_DATE}"',
        "gpus:",
        *(f"  {name}: {device.usd_per_hour:.2f}".ljust(24) + f"# {device.title}" for name, device in GPUS.items()),
    ]
    return "\n".join([*lines, ""])


def read_prices(path: Path) -> Prices:
    """The table in a file.

    Raises:
        InputError: it cannot be read, has a key that is not known, or a price that is none; one line for each fault.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise InputError(
            f"{path}: is no YAML ({told}); `twinserve plan SCENARIO --print-prices` prints one to start from"
        ) from None
    if not isinstance(data, dict) or not isinstance(data.get("gpus"), dict):
        raise InputError(f"{path}: has no `gpus:` with a price for each type; `twinserve plan SCENARIO --print-prices` prints one")
    faults = [f"{path}: `{key}` is not known; use {', '.join(_KEYS)}" for key in data if key not in _KEYS]
    found = {}
    for name, value in data["gpus"].items():
        price = value.get("usd_per_hour") if isinstance(value, dict) else value
        try:
            gpu(str(name))
        except InputError as error:
            faults += [f"{path}: {fault}" for fault in error.faults]
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 < price < float("inf"):
            faults.append(f"{path}: gpus.{name}: `{price}` is no price; write dollars per GPU and hour, like 2.50")
        else:
            found[str(name)] = float(price)
    if faults:
        raise InputError(*faults)
    return Prices(found, str(data.get("source", path.name)), str(data.get("date", "")))
