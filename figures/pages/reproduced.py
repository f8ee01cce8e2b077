"""One page for all figures of a folder: what each paper says, what we get, with which interval, and whether the two agree."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import gallery
from figures.frame import command
from figures.pages.page import render, write_page
from figures.paper import PRINT_DPI
from figures.reproduction import Measured, Verdict
from figures.units import UNKNOWN, duration
from traces.hashes import hash_code

PAGE = "reproduction.html"
INDEX = "figures.json"
"""Seconds that each figure of the folder took when it was last made; few, where the cache held its runs."""

_ENDINGS = (".png", ".svg", ".csv", ".md", ".json")
_TONES = {"agrees": "good", "differs": "bad", "cannot tell": "caution", "not comparable": "muted"}
_PX_PER_INCH = 110


@dataclass(frozen=True, slots=True)
class _Made:
    """A figure of the folder: its JSON file, and the seconds that it took."""

    name: str
    told: Mapping[str, Any]
    seconds: float | None


def note_time(folder: Path, name: str, seconds: float) -> None:
    """Keep how long a figure took, beside those of the others.

    Raises:
        InputError: the folder cannot be written.
    """
    known = {**_times(folder), name: round(seconds, 2)}
    write_page(json.dumps(dict(sorted(known.items())), indent=2) + "\n", folder / INDEX)


def write_reproduction(folder: Path) -> Path | None:
    """The page of all figures that lie in the folder; ``None``: there are none.

    Raises:
        InputError: the folder cannot be written.
    """
    made = _found(folder)
    if not made:
        return None
    write_page(reproduction_page(made, folder), folder / PAGE)
    return folder / PAGE


def reproduction_page(made: Sequence[_Made], folder: Path) -> str:
    """The page as text."""
    groups = [
        {
            "id": f"paper-{group}",
            "name": group,
            "figures": [_figure(one, folder) for one in made if one.name in names],
            "verdicts": _verdicts([one for one in made if one.name in names]),
        }
        for group, names in gallery.groups().items()
        if any(one.name in names for one in made)
    ]
    verdicts = _verdicts(made)
    quick = [one.name for one in made if one.told["provenance"]["quick"]]
    stale = [one.name for one in made if one.told["provenance"]["code"] != hash_code()]
    missing = len(gallery.names()) - len(made)
    warnings = []
    if quick:
        warnings.append(f"made with --quick, and not for quoting: {', '.join(quick)}")
    if stale:
        named = "all of them" if len(stale) == len(made) else ", ".join(stale)
        warnings.append(f"made by other code than is installed now: {named}")
    if missing:
        warnings.append(f"{missing} of {len(gallery.names())} figures are not in this folder; twinserve figures all makes them")
    times = [one.seconds for one in made if one.seconds is not None]
    return render(
        "reproduced.html.j2",
        sections=[(group["id"], group["name"]) for group in groups],
        head=f"{_counted(len(made), 'figure')}, {_counted(sum(verdicts.values()), 'comparison')}",
        counts=[(_TONES[v.value], verdicts[v.value], v.value) for v in Verdict if verdicts[v.value]],
        took="" if len(times) < len(made) else f"They took {duration(sum(times))} in all, the longest {duration(max(times))}.",
        warnings=warnings,
        groups=groups,
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _verdicts(made: Sequence[_Made]) -> Counter[str]:
    return Counter(row["verdict"] for one in made for row in one.told["reproduction"])


def _figure(one: _Made, folder: Path) -> dict[str, Any]:
    told = one.told
    picture = folder / f"{one.name}.png"
    return {
        "id": one.name,
        "title": told["title"],
        "source": told["source"],
        "caption": told["caption"],
        "command": command(one.name, quick=told["provenance"]["quick"]),
        "seconds": "" if one.seconds is None else duration(one.seconds),
        "width_px": round(_width(picture) / PRINT_DPI * _PX_PER_INCH),
        "picture": base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else "",
        "files": [file for ending in _ENDINGS if (folder / (file := f"{one.name}{ending}")).is_file()],
        "rows": [_row(row) for row in told["reproduction"]],
    }


def _width(picture: Path) -> int:
    """Of a PNG, in its own pixels; 0 where there is none."""
    return int.from_bytes(picture.read_bytes()[16:20], "big") if picture.is_file() else 0


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    ours = Measured(row["ours"], row["lo"], row["hi"], row["seeds"])
    value, _, interval = ours.text().partition(" (")
    return {
        "quantity": row["quantity"],
        "paper": row["paper"],
        "ours": value,
        "interval": interval.removesuffix(")"),
        "seeds": str(row["seeds"] or UNKNOWN),
        "verdict": row["verdict"],
        "tone": _TONES[row["verdict"]],
        "source": row["source"],
        "note": row["note"],
    }


def _found(folder: Path) -> list[_Made]:
    """In the gallery's order; a file that is no figure's is passed over."""
    times, found = _times(folder), []
    for name in gallery.names():
        try:
            told = json.loads((folder / f"{name}.json").read_text("utf-8"))
            complete = told["figure"] == name and {"title", "source", "caption", "provenance", "reproduction"} <= set(told)
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if complete:
            found.append(_Made(name, told, times.get(name)))
    return found


def _times(folder: Path) -> dict[str, float]:
    try:
        known = json.loads((folder / INDEX).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): float(v) for k, v in known.items() if isinstance(v, int | float)} if isinstance(known, dict) else {}
