"""Pictures of a validation: predicted against measured for each system, and the errors' distribution beside the peer's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.style import LIGHT, Theme, matplotlib_rc
from figures.validation.table import METRICS, Validation

if TYPE_CHECKING:
    import pandas as pd

DPI = 160
_MARKERS = "osD^vPX*<>"
_KINDS = {"assembled": "as assembled", "shipped": "as shipped", "peer": "AIConfigurator"}


def draw(found: Validation, folder: Path, theme: Theme = LIGHT) -> list[Path]:
    """Write ``scatter`` and ``errors`` as PNG and SVG; held-out rows of vLLM only."""
    import matplotlib

    held = found.rows[(found.rows["part"] == "held out") & (found.rows["engine"] == "vLLM")]
    written = []
    with matplotlib.rc_context({**matplotlib_rc(theme), "svg.hashsalt": "twinserve"}):
        for name, figure in (("scatter", _scatter(held, theme)), ("errors", _errors(held, theme))):
            for ending in ("png", "svg"):
                path = folder / f"{name}.{ending}"
                figure.savefig(path, dpi=DPI, metadata={"Date": None} if ending == "svg" else None)
                written.append(path)
    return written


def _scatter(held: pd.DataFrame, theme: Theme) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, metric in zip(panels, METRICS, strict=True):
        for i, ((model, gpu), rows) in enumerate(held.groupby(["model", "gpu"])):
            axes.plot(
                rows[f"{metric}_s"] * 1e3,
                rows[f"shipped_{metric}_s"] * 1e3,
                linestyle="none",
                alpha=0.8,
                markersize=4.5,
                marker=_MARKERS[i // len(theme.series) % len(_MARKERS)],
                color=theme.series[i % len(theme.series)],
                label=f"{model}, {gpu}",
            )
        both = np.concatenate([held[f"{metric}_s"], held[f"shipped_{metric}_s"]]) * 1e3
        ends = np.array([both.min() / 1.3, both.max() * 1.3])
        axes.plot(ends, ends, color=theme.rule, linewidth=1)
        axes.fill_between(ends, ends / 1.1, ends * 1.1, color=theme.rule, alpha=0.2, linewidth=0)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel=f"measured {metric.upper()}, ms")
        axes.set_ylabel(f"predicted {metric.upper()}, ms")
        axes.set_title(f"{metric.upper()}: {len(held)} held-out rows, band ± 10 %", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _errors(held: pd.DataFrame, theme: Theme) -> Any:
    """Only rows that the peer answers, where there is one, so that all curves show the same rows."""
    from matplotlib.figure import Figure

    rows = held[held["peer_tpot_error"].notna()] if held["peer_tpot_error"].notna().any() else held
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, metric in zip(panels, METRICS, strict=True):
        for (kind, label), colour in zip(_KINDS.items(), theme.series, strict=False):
            errors = np.sort(rows[f"{kind}_{metric}_error"].abs().dropna()) * 100
            if len(errors):
                axes.step(errors, np.arange(1, len(errors) + 1) / len(errors), color=colour, where="post", label=label)
        axes.set(xlim=(0, 100), ylim=(0, 1), xlabel=f"absolute error of {metric.upper()}, %")
        axes.set_title(f"{metric.upper()}: {len(rows)} held-out rows", fontsize=9)
    panels[0].set_ylabel("share of rows")
    panels[1].legend(loc="lower right", fontsize=8)
    return figure
