"""A workload at a glance: on the console, and as one picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from figures.style import LIGHT, Theme, matplotlib_rc
from figures.units import UNKNOWN, clock_scale, count, duration, number, quantity, seconds, share
from traces.inspect import describe, index_of_dispersion
from traces.workload import Workload

_EIGHTHS = "▁▂▃▄▅▆▇█"
_BARS = 56
_SHOWN_PERCENT = ("50", "90", "99", "100")

Floats = NDArray[np.float64]


def print_workload(workload: Workload, console: Console) -> None:
    """What ``traces inspect`` shows: where it comes from, rate over time, burstiness, lengths and prefix sharing."""
    facts = describe(workload)
    console.print(Text(facts["name"], style="bold"))
    for line in _provenance(workload):
        console.print(Text(line, style="dim"))
    console.print()
    console.print(_load(facts), highlight=False)
    if len(facts["classes"]) > 1:
        console.print("classes: " + ", ".join(f"{name} {count(n)}" for name, n in facts["classes"].items()), highlight=False)
    if workload.duration_s > 0:
        console.print()
        _print_rate(workload, facts, console)
    console.print()
    console.print(_length_table(workload, facts))
    if (correlation := facts["spearman"]) is not None:
        console.print(f"Rank correlation of prompt and output {correlation:+.2f}".replace("-", "−"), highlight=False)
    if (prefix := facts["prefix"]) is not None:
        console.print()
        _print_prefix(prefix, console)


def draw(workload: Workload, path: Path, theme: Theme = LIGHT) -> None:
    """One picture, PNG, SVG or PDF by the path's suffix: rate over time, lengths, index of dispersion against the window.

    The file is complete or not there.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # The salt keeps the ids inside an SVG, and so the file, the same from run to run.
    with matplotlib.rc_context({**matplotlib_rc(theme), "svg.hashsalt": "twinserve"}):
        figure = Figure(figsize=(10, 6.2), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.15))
        facts = describe(workload)
        _draw_rate(figure.add_subplot(grid[0, :]), workload, facts, theme)
        _draw_lengths(figure.add_subplot(grid[1, 0]), workload, facts, theme)
        _draw_dispersion(figure.add_subplot(grid[1, 1]), workload, theme)
        figure.suptitle(f"{facts['name']}:  {_load(facts)}", x=0.012, ha="left", fontweight="bold")
        unfinished = path.with_name(f".{path.name}.unfinished{path.suffix}")
        try:
            figure.savefig(unfinished, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


def dispersion_curve(workload: Workload) -> tuple[Floats, Floats]:
    """Windows (s) from a tenth of the mean gap up to a 20th of the duration, and the index of dispersion in each."""
    if not workload.duration_s > 0:
        return np.empty(0), np.empty(0)
    shortest, longest = 0.1 / workload.mean_rate, workload.duration_s / 20
    if longest <= shortest:
        return np.empty(0), np.empty(0)
    windows = np.geomspace(shortest, longest, 40)
    index = np.asarray([index_of_dispersion(workload.arrival_s, w) for w in windows], np.float64)  # None becomes NaN
    return windows, index


def sparkline(values: Floats) -> str:
    """One block per value, from 0 at the bottom to the largest at the top; a blank where the value is 0."""
    top = float(values.max()) if len(values) else 0.0
    if top <= 0:
        return " " * len(values)
    eighths = np.ceil(values / top * 8).astype(int)
    return "".join(" " if e <= 0 else _EIGHTHS[min(e, 8) - 1] for e in eighths)


def _load(facts: dict[str, Any]) -> str:
    if facts["rate_per_s"] is None:
        return f"{count(facts['requests'])} requests, all at once"
    return f"{count(facts['requests'])} requests · {duration(facts['duration_s'])} · {number(facts['rate_per_s'])} requests/s"


def _rate_in_bins(workload: Workload, bins: int) -> tuple[Floats, Floats]:
    """Arrivals per second in equal bins over the workload's duration, and the bins' edges (s)."""
    counts, edges = np.histogram(workload.arrival_s, bins)
    return counts / np.diff(edges), edges


# --- console ----------------------------------------------------------------------------------------------------------


def _provenance(workload: Workload) -> list[str]:
    source = workload.source
    lines = [f"fitted to {source['fitted_to']}"] if "fitted_to" in source else []
    lines += [f"{key} {source[key]}" for key in ("file", "licence", "citation") if key in source]
    return lines + [f"note: {note}" for note in source.get("notes", [])]


def _print_rate(workload: Workload, facts: dict[str, Any], console: Console) -> None:
    rates, _ = _rate_in_bins(workload, _BARS)
    table = Table.grid(padding=(0, 2))
    table.add_row("Rate", Text(sparkline(rates), style="blue"), f"up to {number(float(rates.max()))}/s")
    table.add_row("", Text(_ends("0", duration(facts["duration_s"])), style="dim"), "")
    console.print(table)
    peak = facts["minutes"]["peak_to_mean"]
    busiest = UNKNOWN if peak is None else f"{number(peak)} × the mean"
    gaps = facts["gaps"]
    console.print(
        f"Busiest minute {busiest} · gap {seconds(gaps['mean_s'])} on average, CV {number(gaps['cv'])} (Poisson 1)", highlight=False
    )
    told = ", ".join(f"{number(index)} in {window} s" for window, index in facts["index_of_dispersion"].items())
    console.print(f"Index of dispersion {told} (Poisson 1)", highlight=False)


def _length_table(workload: Workload, facts: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Tokens")
    table.add_column("shortest → longest (log)")
    for heading in ("mean", "p50", "p90", "p99", "max"):
        table.add_column(heading, justify="right")
    for label, tokens, key in (
        ("prompt", workload.prompt_tokens, "prompt_tokens"),
        ("output", workload.output_tokens, "output_tokens"),
    ):
        low, high = float(tokens.min()), float(tokens.max())
        bars = np.histogram(np.log(tokens), 24)[0].astype(np.float64) if high > low else np.ones(1)
        cells = [count(facts[key]["percentiles"][p]) for p in _SHOWN_PERCENT]
        table.add_row(label, Text(sparkline(bars), style="blue"), count(round(facts[key]["mean"])), *cells)
    return table


def _print_prefix(prefix: dict[str, Any], console: Console) -> None:
    hits = prefix["request_hit_fraction"]
    console.print(
        f"Prefix sharing: {share(prefix['block_hit_fraction'])} of {quantity(prefix['blocks'])} blocks of "
        f"{prefix['block_tokens']} tokens would hit an endless cache",
        highlight=False,
    )
    console.print(
        f"  of a request's blocks {share(hits['25'])} at p25, {share(hits['50'])} at p50, {share(hits['90'])} at p90; "
        f"the commonest block is in {share(prefix['top_block_share'])} of requests",
        highlight=False,
    )


def _ends(left: str, right: str) -> str:
    return left + right.rjust(_BARS - len(left))


# --- picture ----------------------------------------------------------------------------------------------------------


def _draw_rate(axes: Any, workload: Workload, facts: dict[str, Any], theme: Theme) -> None:
    axes.set_title("Rate over time", loc="left")
    axes.set_ylabel("requests/s")
    if not workload.duration_s > 0:
        return _nothing(axes, "all requests arrive at once", theme)
    start, end = float(workload.arrival_s[0]), float(workload.arrival_s[-1])
    scale = clock_scale(end - start)
    # 30 requests per bin, where there are so many: fewer show chance rather than load.
    rates, edges = _rate_in_bins(workload, int(np.clip(len(workload) / 30, 4, 240)))
    axes.stairs(rates, edges * scale.factor, fill=True, color=theme.series[0], alpha=0.25)
    axes.stairs(rates, edges * scale.factor, color=theme.series[0])
    axes.axhline(facts["rate_per_s"], color=theme.muted, linewidth=1, linestyle="--")
    axes.annotate(
        "mean", (1, facts["rate_per_s"]), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points", va="center"
    )
    axes.set_xlim(start * scale.factor, end * scale.factor)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"time ({scale.unit})")
    return None


def _draw_lengths(axes: Any, workload: Workload, facts: dict[str, Any], theme: Theme) -> None:
    axes.set_title("Lengths", loc="left")
    for index, (label, tokens) in enumerate((("prompt", workload.prompt_tokens), ("output", workload.output_tokens))):
        percentiles = facts[f"{label}_tokens"]["percentiles"]
        # Steps at 1,000 ranks draw the same line as a million points.
        levels = np.linspace(0, 100, min(len(tokens), 1000) + 1)
        axes.plot(
            np.percentile(tokens, levels),
            levels / 100,
            color=theme.series[index],
            linestyle=("-", (0, (6, 2)))[index],
            label=f"{label}: p50 {count(percentiles['50'])}, p99 {count(percentiles['99'])}",
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(lambda tokens, _: f"{tokens:,.0f}")
    axes.set_xlabel("tokens")
    axes.set_ylabel("share of requests at most so long")
    # Below the axes: inside them there is always some workload whose curve it would cover.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8, handlelength=2.6)


def _draw_dispersion(axes: Any, workload: Workload, theme: Theme) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_title("Burstiness", loc="left")
    windows, index = dispersion_curve(workload)
    if not np.isfinite(index).any():
        return _nothing(axes, "too short to tell", theme)
    axes.plot(windows, index, color=theme.series[0], marker="o", markersize=3)
    axes.axhline(1, color=theme.muted, linewidth=1, linestyle="--")
    axes.annotate("Poisson", (1, 1), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_xscale("log")
    axes.set_yscale("log")
    # Equal gaps have an index of 0, which a logarithm has no place for: such a curve leaves through the floor.
    axes.set_ylim(np.clip(float(np.nanmin(index)) * 0.8, 0.01, 0.7), max(3.0, float(np.nanmax(index)) * 1.3))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
        axis.set_minor_formatter("")
    axes.set_xlabel("window (s)")
    axes.set_ylabel("variance / mean of the count")
    return None


def _nothing(axes: Any, why: str, theme: Theme) -> None:
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", color=theme.muted)
    axes.set_axis_off()
