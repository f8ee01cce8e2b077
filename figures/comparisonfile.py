"""A comparison as a file: the object that ``twinserve compare --json`` prints, written beside the records, read by the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures.comparison import as_json
from figures.pages.page import write_page
from sim.compare import Experiment
from traces.compare import Comparison, Difference
from traces.divergence import Divergence
from traces.errors import InputError
from traces.hashes import plain_json

FILE = "comparison.json"
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class _Told:
    """What the page needs of the object; its other entries are said from these."""

    names: tuple[str, str]
    seeds: tuple[int, ...]
    groups: dict[str, dict[str, Any]]
    apart_share: float
    notes: tuple[str, ...]
    divergences: tuple[Divergence, ...]
    warnings: tuple[str, ...]


def write_comparison(found: Experiment, folder: Path) -> None:
    """Writes ``comparison.json`` into a folder, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    write_page(json.dumps(plain_json(as_json(found)), indent=1, ensure_ascii=False) + "\n", folder / FILE)


def read_comparison(path: Path) -> Experiment:
    """The comparison in a file that ``compare`` wrote, or in a folder that holds one.

    Raises:
        InputError: there is none, or it is not one.
    """
    from pydantic import TypeAdapter

    file = path / FILE if path.is_dir() else path
    try:
        with file.open("rb") as raw:
            data = raw.read(_LARGEST)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); give what `twinserve compare --out` wrote") from None
    try:
        told = TypeAdapter(_Told).validate_python(json.loads(data))
        entries = [
            {"group": group, "metric": metric, **entry}
            for group, metrics in told.groups.items()
            for metric, entry in metrics.items()
        ]
        differences = TypeAdapter(list[Difference]).validate_python(entries)
    except (ValueError, TypeError, RecursionError):
        raise InputError(f"{file}: is not a comparison; give what `twinserve compare --out` or `--json` wrote") from None
    if not told.seeds or not differences:
        raise InputError(f"{file}: compares nothing; run `twinserve compare` again")
    comparison = Comparison(told.names, told.seeds, differences, told.apart_share, told.notes)
    return Experiment(comparison, told.warnings, told.divergences)
