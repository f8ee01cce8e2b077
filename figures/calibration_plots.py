"""Both worlds over each other: CDFs of TTFT and TPOT, batch size and queue over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from figures.style import LIGHT, matplotlib_rc
from traces.record import Record
from traces.slices import Slices
from traces.tables import floats

if TYPE_CHECKING:
    from figures.calibration import Calibration

Floats = NDArray[np.float64]
BINS = 80


def cdf(record: Record, column: str) -> tuple[Floats, Floats]:
    """Sorted milliseconds, and the share of requests at most so long."""
    values = floats(record.requests, column)
    values = np.sort(values[~np.isnan(values)]) * 1e3
    return values, np.arange(1, len(values) + 1) / max(len(values), 1)


def over_time(record: Record, column: str, end_s: float) -> tuple[Floats, Floats]:
    """Edges of bins in seconds, and the column's mean over each bin, summed over engines; an engine between steps has none."""
    slices = Slices(0.0, end_s, BINS)
    start, duration, value = (floats(record.steps, name) for name in ("start_s", "duration_s", column))
    return np.linspace(0.0, end_s, BINS + 1), slices.flowed(start, start + duration, value) / slices.widths_s


def _span(worlds: Sequence[tuple[Record, str, Any]], column: str) -> tuple[float, float]:
    """What an axis shows: all but the outermost percent at each end, and some air."""
    low, high = zip(*(np.quantile(cdf(record, column)[0], (0.01, 0.99)) for record, _, _ in worlds), strict=True)
    return 0.7 * max(min(low), max(high) / 1000), 1.4 * max(high)


def draw(found: Calibration, path: Path) -> None:
    """One picture of four panels."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    end_s = max(record.manifest["end_s"] for record in [*found.real, found.simulated])
    worlds: list[tuple[Record, str, dict[str, Any]]] = [
        (record, f"vLLM, run {number}" if len(found.real) > 1 else "vLLM", {"color": LIGHT.series[0], "alpha": 1.0 / number})
        for number, record in enumerate(found.real, 1)
    ]
    worlds.append((found.simulated, "simulator", {"color": LIGHT.series[1], "linestyle": "--"}))
    with plt.rc_context(matplotlib_rc(LIGHT) | {"svg.hashsalt": "twinserve"}):
        figure, axes = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained")
        for axis, (column, label) in zip(axes[0], (("ttft_s", "TTFT"), ("tpot_s", "TPOT")), strict=True):
            for record, name, style in worlds:
                axis.plot(*cdf(record, column), label=name, **style)
            axis.set(xscale="log", xlabel=f"{label} (ms)", ylabel="share of requests", ylim=(0, 1.02), xlim=_span(worlds, column))
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        for axis, (column, label) in zip(
            axes[1], (("running", "requests in the batch"), ("waiting", "requests waiting")), strict=True
        ):
            for record, name, style in worlds:
                edges, mean = over_time(record, column, end_s)
                axis.stairs(mean, edges, label=name, **style)
            axis.set(xlabel="time (s)", ylabel=label, xlim=(0, end_s))
            axis.set_ylim(0, max(1.0, axis.get_ylim()[1]))  # an empty queue is a line at the bottom of a scale of whole requests
        axes[0][0].legend(loc="lower right")
        figure.suptitle(f"{found.scenario}: the simulator over vLLM ({found.device})")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)
        plt.close(figure)
