"""What the figures of studies share: one panel per service, one line per sampler, a band for the quartiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.paper import beside, series_look
from figures.scoot.outcomes import quartiles
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

TITLES: Mapping[str, str] = {
    "sql": "SQL (13B, 4 × A100)",
    "bot": "BOT (13B, 4 × A100)",
    "cls": "CLS (8B, 4 × L40S)",
    "rec": "REC (8B, 4 × L40S)",
}


def looks(samplers: Sequence[str], theme: Theme) -> dict[str, dict[str, Any]]:
    """How each sampler is drawn, alike in all figures."""
    found = {name: series_look(i, theme) for i, name in enumerate(samplers)}
    for i, look in enumerate(found.values()):
        look["markevery"] = (i, 6)
        look["markersize"] = 3
    if "auto-tune" in found:  # a script, no sampler
        found["auto-tune"] |= {"color": theme.muted, "markeredgecolor": theme.muted}
    found[samplers[0]] |= {"linewidth": 2.6, "zorder": 2.5}  # the widest, below those that may lie on top of it
    return found


def panels(canvas: Any, services: Sequence[str], **margins: float) -> list[Any]:
    """Axes side by side, with the services' names."""
    grid = canvas.add_gridspec(1, len(services), **margins)
    made = []
    for i, service in enumerate(services):
        axes = canvas.add_subplot(grid[i])
        axes.annotate(TITLES[service], (0, 1), **beside(0, 5, "axes fraction"), size=7.5, fontweight="bold")
        made.append(axes)
    return made


def draw_curves(axes: Any, frame: DataFrame, samplers: Sequence[str], theme: Theme) -> None:
    """Medians as lines, quartiles as bands, over observations."""
    for name, look in looks(samplers, theme).items():
        curve = quartiles(frame[frame["sampler"] == name], "observations")
        if not len(curve):
            continue
        look = {"zorder": 3, **look}
        axes.fill_between(curve.index, curve["lo"], curve["hi"], color=look["color"], alpha=0.12, linewidth=0)
        axes.plot(curve.index, curve["median"], label=name, **look)
    axes.set_xlim(1, frame["observations"].max())
    axes.set_xticks([1, *range(10, int(frame["observations"].max()) + 1, 10)])


def legend(canvas: Any, axes: Any, columns: int) -> None:
    """One for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="lower center", ncol=columns, fontsize=7, handlelength=2.2, columnspacing=1.4)
