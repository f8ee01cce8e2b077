"""The report's charts, from a record: what a chart shows, and what it says to those who cannot see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from figures.reduce import MOST_BINS, EngineTime, distribution, engine_time, most_under_way, per_second, timeline, under_way
from figures.style import series_tone
from figures.svg import Axis, Band, Chart, Limit, Line, Shade, linear_axis, log_axis, share_axis
from figures.units import Scale, clock_scale, count_scale, limit, number, seconds, seconds_scale, share
from traces.record import Record
from traces.slices import Floats
from traces.tables import codes, floats
from traces.usage import engine_knobs

LATENCIES: Mapping[str, str] = {"ttft": "Time to first token", "tpot": "Time per output token", "e2e": "End to end"}
_LOW_USE = 0.4  # KV use below which the axis ends before 100 %, lest the curve lie on the floor


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart with its heading, the unit of its y axis, and a line of reading help."""

    heading: str
    unit: str
    chart: Chart
    note: str = ""


class RunView:
    """A record's columns and time bins, worked out once for all panels. ``engines``: in the order in which they came up."""

    def __init__(self, record: Record) -> None:
        requests = record.requests
        self.record = record
        self.end_s = float(record.manifest["end_s"])
        self.tier, self.tiers = codes(requests, "tier")
        self.arrival = floats(requests, "arrival_s")
        self.measured = (self.arrival >= record.window_s[0]) & (self.arrival < record.window_s[1])
        self.slices, self.edges = timeline(self.end_s, min(MOST_BINS, max(60, requests.num_rows // 25)))  # ± 20 % from bin to bin
        self.engines: list[str] = list(dict.fromkeys(record.fleet.column("engine").to_pylist()))

    def column(self, name: str) -> Floats:
        """A numeric column of requests.parquet, null = NaN."""
        return floats(self.record.requests, name)

    def outcome(self, *names: str) -> np.ndarray:
        """Which requests ended in one of these ways."""
        code, known = codes(self.record.requests, "outcome")
        return np.isin(code, [known.index(name) for name in names if name in known])

    @cached_property
    def over_time(self) -> EngineTime:
        """Busy share and KV use of each engine in the panels' bins."""
        return engine_time(self.record.steps, self.engines, self.slices)

    def time_axis(self) -> Axis:
        """From 0 to the run's end, the unit told at the last tick."""
        scale = clock_scale(self.end_s)
        axis = linear_axis(0.0, self.end_s * scale.factor, lambda v: f"{v:g}", round_up=False)
        ticks = [(place / scale.factor, label) for place, label in axis.ticks]
        ticks[-1] = (ticks[-1][0], f"{ticks[-1][1]} {scale.unit}")
        return Axis(0.0, self.end_s, tuple(ticks), kind="clock")

    def outside_window(self) -> list[Shade]:
        """The stretches of the run that are not measured."""
        start, end = self.record.window_s
        return [Shade(a, b) for a, b in ((0.0, start), (end, self.end_s)) if b - a > 1e-9 * self.end_s]


def latency_panels(view: RunView) -> list[Panel]:
    """Cumulative TTFT, TPOT and E2E of every tier over its offered requests, against the tier's limits."""
    panels = [panel for name in LATENCIES if (panel := _latency_panel(view, name)) is not None]
    rows = max((sum(isinstance(mark, Limit) for mark in panel.chart.marks) for panel in panels), default=0)
    return [replace(panel, chart=replace(panel.chart, limit_rows=rows)) for panel in panels]


def _latency_panel(view: RunView, name: str) -> Panel | None:
    values, limits = view.column(f"{name}_s"), view.column(f"slo_{name}_s")
    offered = view.measured
    if name == "tpot":  # a single token has no TPOT, and misses none
        offered = offered & ~(view.outcome("completed") & (view.column("output_tokens") < 2))
    known = values[view.measured & ~np.isnan(values)]
    if not len(known):
        return None
    lines: list[Line | Limit] = []
    told = []
    for code, tier in enumerate(view.tiers):
        rows = offered & (view.tier == code)
        if not rows.any():
            continue
        curve = distribution(values[rows], int(rows.sum()))
        lines.append(Line(curve.value, curve.share, series_tone(code), tier))
        middle, tail = seconds(curve.quantile(0.5)), seconds(curve.quantile(0.99))
        told.append(f"Tier {tier}: half within {middle}, 99 % of those served within {tail}.")
        stated = np.unique(limits[rows][~np.isnan(limits[rows])])
        for bound in (stated[[0, -1]] if len(stated) > 1 else stated).tolist():
            within = curve.within(bound) if len(stated) == 1 else None
            kept = "" if within is None else share(within)
            lines.append(Limit(bound, f"≤ {limit(bound)}" + (kept and f": {kept}"), series_tone(code), within))
            told.append(f"Limit {limit(bound)}" + (kept and f", kept by {kept} of those offered") + ".")
    marks = [m.x for m in lines if isinstance(m, Limit)]
    axis = latency_axis(known, marks)
    chart = Chart(
        f"cdf-{name}",
        f"{LATENCIES[name]}: share of offered requests by latency",
        " ".join(told),
        axis,
        share_axis(),
        lines,
        height_px=190,
    )
    return Panel(LATENCIES[name], name.upper(), chart)


def latency_axis(values: Floats, limits: Sequence[float]) -> Axis:
    """Over all values but the lowest 0.1 %, and all limits: logarithmic if they span more than a factor of 12, else from 0."""
    low, high = np.quantile(values, [0.001, 1.0])
    high = max(float(high), *limits, 1e-9) * 1.02
    low = max(min(float(low), *limits, high), high * 1e-6)
    if high / low > 12:
        return log_axis(low, high, limit, kind="seconds")
    scale = seconds_scale([high])
    axis = linear_axis(0.0, high * scale.factor, lambda v: f"{v:g}", round_up=False)
    ticks = [(place / scale.factor, label) for place, label in axis.ticks]
    ticks[-1] = (ticks[-1][0], f"{ticks[-1][1]} {scale.unit}")
    return Axis(0.0, high, tuple(ticks), kind="seconds")


def time_panels(view: RunView) -> list[Panel]:
    """Over the run: arrivals and completions, requests that wait, and KV memory in use."""
    panels = [_rate_panel(view), _queue_panel(view)]
    if view.engines and view.record.steps.num_rows:
        panels.append(_kv_panel(view))
    return panels


def _rate_panel(view: RunView) -> Panel:
    done = view.outcome("completed")
    offered = per_second(view.arrival, view.slices)
    completed = per_second((view.arrival + view.column("e2e_s"))[done], view.slices)
    marks: list[Line | Band | Shade] = [
        *view.outside_window(),
        Band(view.edges, np.zeros(view.slices.count), offered, "muted", "offered"),
        Line(view.edges, completed, "ink", "completed", step=True),
    ]
    lost = view.outcome("shed", "failed")
    if lost.any():
        marks.append(Line(view.edges, per_second(view.arrival[lost], view.slices), "bad", "shed or failed", step=True))
    top = max(offered.max(initial=0.0), completed.max(initial=0.0))
    width = limit(float(view.slices.widths_s[0]))
    told = (
        f"Offered {number(len(view.arrival) / view.end_s)} requests per second on average, at most {number(offered.max())} in a "
        f"bin of {width}; completed {number(int(done.sum()) / view.end_s)} on average."
    )
    chart = Chart("rate", "Request rate over time", told, view.time_axis(), _count_axis(top), marks)
    return Panel("Rate", f"requests per second, bins of {width}", chart)


def _queue_panel(view: RunView) -> Panel:
    """Waiting = arrived, and not yet scheduled on an engine for the first time; at the run's end for those that never were.

    A server that does not tell when it scheduled a request did so before the first token.
    """
    queue = view.column("queue_s")
    wait = np.where(np.isnan(queue), view.column("ttft_s"), queue)
    gone = np.isnan(wait) & view.outcome("shed", "failed")
    scheduled = np.where(np.isnan(wait), view.end_s, view.arrival + wait)
    marks: list[Line | Band | Shade] = list(view.outside_window())
    below = np.zeros(view.slices.count)
    for code, tier in enumerate(view.tiers):
        rows = ~gone & (view.tier == code)
        above = below + under_way(view.arrival[rows], scheduled[rows], view.slices)
        marks.append(Band(view.edges, below, above, series_tone(code), tier if len(view.tiers) > 1 else "waiting", solid=True))
        below = above
    most = most_under_way(view.arrival[~gone], scheduled[~gone])
    told = f"At most {most:,} requests wait at once; {number(float(below.mean()))} on average."
    chart = Chart("queue", "Requests waiting over time", told, view.time_axis(), _count_axis(float(below.max(initial=0.0))), marks)
    unit = "requests not yet scheduled, mean of each bin" + (", stacked by tier" if len(view.tiers) > 1 else "")
    return Panel("Queue", unit, chart, f"At most {most:,} at once.")


def _kv_panel(view: RunView) -> Panel:
    used = view.over_time
    knobs = engine_knobs(view.record.manifest)
    sizes = np.array([knobs.get(engine, {}).get("kv_tokens_capacity", math.nan) for engine in view.engines], float)
    told_of_capacity = not np.isnan(sizes).any()
    share_or_tokens = used.kv_tokens / sizes[:, None] if told_of_capacity else used.kv_tokens
    mean, least, most = share_or_tokens.mean(axis=0), share_or_tokens.min(axis=0), share_or_tokens.max(axis=0)
    marks: list[Line | Band | Shade] = list(view.outside_window())
    if len(view.engines) > 1:
        marks.append(Band(view.edges, least, most, "muted", "least to most"))
    marks.append(Line(view.edges, mean, "ink", "mean", step=True))
    top = float(most.max(initial=0.0))
    if told_of_capacity:
        axis = share_axis() if top > _LOW_USE else linear_axis(0.0, top, lambda v: f"{100 * v:.3g} %", ticks=4, kind="share")
        peak = share(float((used.kv_peak / sizes).max()))
        told = f"KV memory in use: {share(float(mean.mean()))} of capacity on average, {peak} at most."
    else:
        axis = _count_axis(top)
        told = f"KV tokens in use per engine: {number(float(mean.mean()))} on average, {number(float(used.kv_peak.max()))} at most."
    chart = Chart("kv", "KV memory in use over time", told, view.time_axis(), axis, marks)
    unit = "share of capacity" if told_of_capacity else "tokens per engine"
    return Panel("KV memory", unit + (", across engines" if len(view.engines) > 1 else ""), chart, told)


def _count_axis(top: float) -> Axis:
    scale: Scale = count_scale([top])
    return linear_axis(0.0, top, lambda v: f"{v * scale.factor:g}{scale.unit and ' ' + scale.unit}", ticks=4)
