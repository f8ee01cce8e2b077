"""How figures look on paper: column widths, type sizes, and series that stay apart in colour, in grey and for every eye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from figures.style import Theme, matplotlib_rc

if TYPE_CHECKING:
    from pandas import DataFrame

SINGLE_IN = 3.4
DOUBLE_IN = 7.0
"""Widths in inches of one and of two columns of a paper."""

PRINT_DPI = 300
_MARKERS = ("o", "s", "^", "D", "v")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))


def paper_rc(theme: Theme) -> dict[str, Any]:
    """The theme at print size: no text below 7 pt, the same font on every machine, the same bytes from the same data."""
    return {
        **matplotlib_rc(theme),
        "font.family": "DejaVu Sans",  # comes with matplotlib, so labels fit everywhere if they fit here
        "font.size": 7.5,
        "axes.labelsize": 7.5,
        "axes.titlesize": 7.5,
        "axes.linewidth": 0.7,
        "grid.linewidth": 0.5,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "axes.labelpad": 3,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.6,
        "errorbar.capsize": 0,
        "svg.hashsalt": "twinserve",
    }


def series_look(index: int, theme: Theme) -> dict[str, Any]:
    """Keyword arguments of ``plot`` for a series: colour, marker and dash. Every second marker is hollow, for grey print."""
    colours = len(theme.series)
    colour = theme.series[index % colours]
    return {
        "color": colour,
        "marker": _MARKERS[index % len(_MARKERS)],
        "markerfacecolor": theme.page if index % 2 else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 0.9,
        "linestyle": _DASHES[index // colours % len(_DASHES)],
    }


def ramp(count: int, theme: Theme) -> list[str]:
    """``count`` colours for an ordered series, from faint to strong, so that grey print keeps the order. All are fit for text."""
    muted, strong, ink = (_rgb(colour) for colour in (theme.muted, theme.series[0], theme.ink))
    stops = [muted, strong, tuple(0.35 * s + 0.65 * i for s, i in zip(strong, ink, strict=True))]
    colours = []
    for step in range(count):
        at = 2 * step / max(1, count - 1)
        low = min(int(at), 1)
        mixed = [a + (at - low) * (b - a) for a, b in zip(stops[low], stops[low + 1], strict=True)]
        colours.append("#" + "".join(f"{round(255 * channel):02x}" for channel in mixed))
    return colours


def beside(right_pt: float, up_pt: float, coordinates: Any = "data") -> dict[str, Any]:
    """Keyword arguments of ``annotate`` for a text so many points off its place."""
    return {"xycoords": coordinates, "xytext": (right_pt, up_pt), "textcoords": "offset points"}


def error_bars(curve: DataFrame, least: float, most: float) -> Any:
    """Lengths below and above the column ``mean``, from ``lo`` and ``hi``, which are kept where the quantity can be."""
    import numpy as np

    low, high = curve["lo"].clip(lower=least), curve["hi"].clip(upper=most)
    return np.array([curve["mean"] - low, high - curve["mean"]])


def plain_log_ticks(axis: Any) -> None:
    """1, 2, 5, 10, … in place of powers."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
