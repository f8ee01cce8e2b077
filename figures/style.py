"""One look for every view: the HTML report and matplotlib draw from the same two themes.

Text and line colours have a contrast of at least 4.5:1 on their background (WCAG 2.1 AA). The series colours stay apart under
protanopia, deuteranopia and tritanopia; both promises are tested. Where colours run out, the line's dash changes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
MONOSPACE = 'ui-monospace, "SF Mono", "Cascadia Mono", "Liberation Mono", Menlo, Consolas, monospace'
DASHES = ("none", "8 3", "2 3")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours as ``#rrggbb``. ``series``: one per line, tier or policy, in a fixed order."""

    page: str
    panel: str
    ink: str
    muted: str
    rule: str
    grid: str
    good: str
    bad: str
    caution: str
    series: tuple[str, ...]


LIGHT = Theme(
    page="#ffffff",
    panel="#f5f6f7",
    ink="#16191d",
    muted="#59626c",
    rule="#9aa3ad",
    grid="#e4e7ea",
    good="#0a6b52",
    bad="#b3261e",
    caution="#8a5300",
    series=("#0b6fc2", "#b8480a", "#5c1f6e", "#0d7a5f", "#3b4148"),
)
DARK = Theme(
    page="#14171b",
    panel="#1d2126",
    ink="#e8eaed",
    muted="#a3acb6",
    rule="#66707b",
    grid="#2b3138",
    good="#5fce9e",
    bad="#ff8f85",
    caution="#f0b95c",
    series=("#5aa9f0", "#ee8a50", "#d9c4ff", "#5fce9e", "#d8c24a"),
)


def series_tone(index: int) -> str:
    """CSS classes of series ``index``: a colour, and a dash where the colours have run out. The first 15 differ from each other.

    Beside these there are the tones ``ink``, ``muted``, ``good`` and ``bad``.
    """
    colour, dash = index % len(LIGHT.series), index // len(LIGHT.series) % len(DASHES)
    return f"s{colour} dash{dash}" if dash else f"s{colour}"


def css_tones() -> str:
    """CSS rules that give each tone its ``--tone`` and dash."""
    tones = [f".s{i} {{ --tone: var(--s{i}); }}" for i in range(len(LIGHT.series))]
    tones += [f".{name} {{ --tone: var(--{name}); }}" for name in ("ink", "muted", "good", "bad")]
    return " ".join(tones + [f".line.dash{i} {{ stroke-dasharray: {DASHES[i]}; }}" for i in range(1, len(DASHES))])


def css_variables(theme: Theme) -> str:
    """The theme as CSS custom properties: ``--page``, ``--ink``, …, ``--s0``, ``--s1``, …"""
    plain = [f"--{field.name}: {getattr(theme, field.name)};" for field in fields(theme) if field.name != "series"]
    return " ".join(plain + [f"--s{i}: {colour};" for i, colour in enumerate(theme.series)])


def matplotlib_rc(theme: Theme = LIGHT) -> dict[str, Any]:
    """Settings for ``matplotlib.rc_context``: the report's colours, open axes, a quiet grid."""
    from cycler import cycler

    return {
        "figure.facecolor": theme.page,
        "axes.facecolor": theme.page,
        "savefig.facecolor": theme.page,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.rule,
        "axes.prop_cycle": cycler(color=theme.series),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "lines.linewidth": 1.6,
        "legend.frameon": False,
        "font.size": 9,
    }
