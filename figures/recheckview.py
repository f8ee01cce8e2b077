"""What became of a run's decisions when fresh policy objects made them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from figures.headline import where_it_ran
from policies.redecide import Redecision

if TYPE_CHECKING:
    from rich.console import Console


def redecision_json(found: Redecision) -> dict[str, Any]:
    """The outcome as plain data, without the policy objects."""
    differences = [asdict(difference) for difference in found.differences]
    return {"same": found.same, "decisions": found.decisions, "differ": found.differ, "differences": differences}


def print_redecision(found: Redecision, manifest: Mapping[str, Any], console: Console) -> None:
    """The verdict, and the first decisions that differ."""
    chosen = " · ".join(f"{point} {choice['name']}" for point, choice in manifest["policies"].items() if choice)
    lines = [f"{where_it_ran(manifest)} · {chosen} · seed {manifest['seed']}"]
    if not found.decisions:
        lines.append("NOT the same: the log holds no decisions")
    elif found.same:
        lines.append(f"the same: {found.decisions:,} decisions made again, byte for byte")
    else:
        lines.append(f"NOT the same: {found.differ:,} of {found.decisions:,} decisions differ; the first:")
    for difference in found.differences:
        lines.append(f"  #{difference.index} {difference.point} for {difference.who} at {difference.now_s:g} s")
        lines += [f"    logged  {difference.logged}", f"    again   {difference.again}"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
