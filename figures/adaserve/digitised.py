"""The paper's curves, read off its vector graphics: drawn under ours where the data folder beside the project holds them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "papers" / "adaserve_figs.json"

PRESENT = "Thin dotted lines without markers: the paper's curves, digitised from its vector graphics (± 0.5)."
ABSENT = "The paper's digitised curves are not at hand and not drawn."


def note() -> str:
    """What a caption says of them."""
    return PRESENT if FILE.is_file() else ABSENT


def curve(figure: str, model: str, metric: str, system: str) -> dict[float, float]:
    """x → y of one curve; empty where it is not at hand. ``metric``: how it begins in the file."""
    points = _panel(figure, model, metric).get(system, [])
    return {float(x): float(y) for x, y in points}


def bar(figure: str, model: str, system: str) -> float | None:
    """The height of one bar, where it is at hand."""
    value = _panel(figure, model, "").get(system)
    return None if value is None else float(value)


def between(points: dict[float, float], x: float) -> float | None:
    """The curve at ``x``, linear between its points; nothing beyond them."""
    import numpy as np

    xs = sorted(points)
    if not xs or not xs[0] - 1e-9 <= x <= xs[-1] + 1e-9:
        return None
    return float(np.interp(x, xs, [points[at] for at in xs]))


def _panel(figure: str, model: str, metric: str) -> dict[str, Any]:
    for panel in _file().get(figure, {}).get("panels", ()):
        if panel["model"] == model and str(panel.get("metric", "")).startswith(metric):
            return dict(panel["series"])
    return {}


@cache
def _file() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text("utf-8"))) if FILE.is_file() else {}
