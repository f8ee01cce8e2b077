"""The fleet in the report: what its engines were doing over the run, and what each pool of a mixed fleet did and cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from figures.panels import Panel, RunView
from figures.reduce import engine_time, under_way
from figures.style import series_tone
from figures.svg import Band, Chart, Line, Shade, linear_axis
from figures.units import count, number, share
from traces.slices import Floats, Slices
from traces.tables import codes
from traces.usage import SERVING, engine_knobs, spans

_LAYERS = (("active", series_tone(0)), ("draining", series_tone(1)), ("starting", series_tone(2)), ("failed", "bad"))


def fleet_panels(view: RunView) -> list[Panel]:
    """Engines by state over time, where any changes its state."""
    fleet = view.record.fleet
    if fleet.num_rows == len(view.engines):
        return []
    marks: list[Line | Band | Shade] = list(view.outside_window())
    below, told = np.zeros(view.slices.count), []
    for state, tone in _LAYERS:
        life = spans(fleet, view.end_s, frozenset((state,)), None)
        if not life.engine:
            continue
        here = under_way(life.start_s, life.end_s, view.slices)
        marks.append(Band(view.edges, below, below + here, tone, state, solid=True))
        below = below + here
        told.append(f"{number(float((life.end_s - life.start_s).sum()) / view.end_s)} {state}")
    axis = linear_axis(0.0, float(below.max(initial=1.0)), lambda v: f"{v:g}", ticks=4)
    told_in_words = f"Of {len(view.engines)} engines, on average over the run: {', '.join(told)}; the rest parked."
    chart = Chart("fleet", "Engines by state over time", told_in_words, view.time_axis(), axis, marks)
    return [Panel("Engines", "by state, mean of each bin; parked ones, which cost nothing, are left out", chart, told_in_words)]


@dataclass(frozen=True, slots=True)
class PoolRow:
    name: str
    what: str
    engines: str
    gpu_hours: str
    usd: str
    busy: str
    requests: str
    tokens: str
    kv_peak: str


def pool_rows(view: RunView) -> list[PoolRow]:
    """One row per pool, in the measured window; none where the fleet is one pool."""
    knobs = engine_knobs(view.record.manifest)
    pools = list(dict.fromkeys(facts["pool"] for facts in knobs.values() if "pool" in facts))
    if not pools:
        return []
    start, end = view.record.window_s
    member = {name: pools.index(facts["pool"]) for name, facts in knobs.items()}
    pool_of = np.array([member[name] for name in view.engines])
    paid = spans(view.record.fleet, view.end_s, None, view.record.manifest.get("usd_per_gpu_hour"))
    serving = spans(view.record.fleet, view.end_s, frozenset(SERVING), None)

    def inside(life_start: Floats, life_end: Floats) -> Floats:
        seconds: Floats = np.maximum(np.minimum(life_end, end) - np.maximum(life_start, start), 0.0)
        return seconds

    def by_pool(engines: list[str], amount: Floats) -> Floats:
        totals: Floats = np.bincount([member[name] for name in engines], amount, len(pools)).astype(np.float64)
        return totals

    held = inside(paid.start_s, paid.end_s)
    gpu_s, usd = by_pool(paid.engine, held * paid.gpus), by_pool(paid.engine, held * paid.usd_per_s)
    up = by_pool(serving.engine, inside(serving.start_s, serving.end_s))
    worked = engine_time(view.record.steps, view.engines, Slices(start, end, 1)).busy[:, 0] * (end - start)
    busy = np.divide(np.bincount(pool_of, worked, len(pools)), up, out=np.full(len(pools), math.nan), where=up > 0)
    code, names = codes(view.record.requests, "engine")
    on = np.array([member[name] for name in names] + [len(pools)])[np.where(view.measured, code, len(names))]
    requests = np.bincount(on, minlength=len(pools) + 1)
    tokens = np.bincount(on, view.column("output_tokens"), len(pools) + 1)
    sizes = np.array([knobs[name]["kv_tokens_capacity"] for name in view.engines], float)
    rows = []
    for i, name in enumerate(pools):
        mine = np.flatnonzero(pool_of == i)
        rows.append(
            PoolRow(
                name=name,
                what=_what(view, view.engines[mine[0]], str(knobs[view.engines[mine[0]]]["role"])),
                engines=count(len(mine)),
                gpu_hours=number(gpu_s[i] / 3600),
                usd=f"${number(usd[i])}",
                busy=share(float(busy[i])),
                requests=count(int(requests[i])),
                tokens=count(int(tokens[i])),
                kv_peak=share(float((view.over_time.kv_peak / sizes)[mine].max())),
            )
        )
    return rows


def _what(view: RunView, engine: str, role: str) -> str:
    row = next(row for row in view.record.fleet.to_pylist() if row["engine"] == engine)
    gpus = f"{row['gpus']:g} × {row['gpu']}" if row["gpus"] != 1 else row["gpu"]
    return f"{row['model']} on {gpus}" + (f", {role}" if role != "both" else "")
