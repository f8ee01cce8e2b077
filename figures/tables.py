"""The report's tables as rows of ready text: attainment per tier, all metrics per tier, engines, and where the run came from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from figures.cells import axis_ticks, interval_dot, sparkline
from figures.headline import TARGET
from figures.panels import RunView
from figures.reduce import coarser, engine_time, tally
from figures.style import series_tone
from figures.svg import share_axis
from figures.units import PERCENT, PLAIN, Scale, count, count_scale, duration, number, seconds_scale, share, share_interval
from traces.intervals import Estimate
from traces.metrics import Summary
from traces.record import Record
from traces.slices import Slices
from traces.tables import OUTCOMES, codes
from traces.usage import SERVING, engine_knobs, spans

MOST_ENGINES = 64
SPARKLINE_BINS = 100


@dataclass(frozen=True, slots=True)
class Cell:
    """``text``, its 95 % interval, and the letter of its footnote."""

    text: str
    interval: str = ""
    mark: str = ""


@dataclass(slots=True)
class Footnotes:
    """Notes to figures, each told once and referred to by a letter."""

    notes: list[str] = field(default_factory=list)

    def mark(self, note: str) -> str:
        """The letter of ``note``; empty for no note."""
        if not note:
            return ""
        if note not in self.notes:
            self.notes.append(note)
        return letter(self.notes.index(note))


def letter(index: int) -> str:
    """a, b, …, z, aa, ab, …"""
    return (letter(index // 26 - 1) if index >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[index % 26]


def cell(estimate: Estimate, scale: Scale, notes: Footnotes) -> Cell:
    """An estimate in a column or row whose heading names the unit."""
    text = scale.number(estimate.value, estimate.lo, estimate.hi)
    interval = "" if estimate.lo == estimate.hi else scale.interval(estimate.lo, estimate.hi)
    return Cell(text, interval, notes.mark(estimate.note))


def share_cell(estimate: Estimate, notes: Footnotes) -> Cell:
    """A share to a tenth of a per cent, with its interval (in per cent, without the sign)."""
    interval = "" if estimate.lo == estimate.hi else share_interval(estimate.lo, estimate.hi)
    return Cell(share(estimate.value), interval, notes.mark(estimate.note))


# --- tiers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AttainmentRow:
    name: str
    graphic: Markup
    cell: Cell


def attainment_rows(summary: Summary, tiers: Sequence[str]) -> tuple[list[AttainmentRow], Markup]:
    """All requests, then each tier (if several) as a dot with its interval against the target; and the axis below them."""
    groups = [("All", "ink", summary.metrics)]
    if len(summary.tiers) > 1:
        groups += [(name, series_tone(tiers.index(name)), metrics) for name, metrics in summary.tiers.items()]
    estimates = [metrics["attainment"] for _, _, metrics in groups]
    least = min([TARGET, *(v for e in estimates for v in (e.value, e.lo) if v is not None)])
    axis = share_axis(math.floor(10 * (least - 0.02)) / 10 if least > 0.52 else 0.0, parts=2)
    rows = [
        AttainmentRow(
            name, interval_dot(axis, e.value, e.lo, e.hi, TARGET, tone), share_cell(e, Footnotes()) if e.n else Cell("no SLO")
        )
        for (name, tone, _), e in zip(groups, estimates, strict=True)
    ]
    return rows, axis_ticks(axis)


@dataclass(frozen=True, slots=True)
class MetricRow:
    label: str
    unit: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class MetricGroup:
    heading: str
    rows: list[MetricRow]


def tier_columns(summary: Summary) -> dict[str, Mapping[str, Estimate]]:
    """Heading → metrics: everyone, and each tier if there are several."""
    return (
        {"All": summary.metrics, **summary.tiers} if len(summary.tiers) > 1 else {next(iter(summary.tiers), "All"): summary.metrics}
    )


def tier_groups(summary: Summary) -> tuple[list[MetricGroup], list[str]]:
    """The per-tier table: one column per tier, units in the row heads; and its footnotes."""
    columns, notes = tier_columns(summary), Footnotes()

    def row(label: str, key: str, scale: Scale, unit: str = "") -> MetricRow:
        return MetricRow(label, unit or scale.unit, [cell(metrics[key], scale, notes) for metrics in columns.values()])

    groups = [
        MetricGroup(
            "Attainment and goodput",
            [
                MetricRow("Attainment, of offered", "", [share_cell(m["attainment"], notes) for m in columns.values()]),
                MetricRow("Attainment, of admitted", "", [share_cell(m["attainment_admitted"], notes) for m in columns.values()]),
                row("Goodput", "goodput_req_s", PLAIN, "req/s"),
                row("Goodput", "goodput_tok_s", PLAIN, "tok/s"),
                row("Throughput", "throughput_tok_s", PLAIN, "tok/s"),
            ],
        )
    ]
    for label, key in (("TTFT", "ttft_s"), ("TPOT", "tpot_s"), ("ITL", "itl_s"), ("E2E", "e2e_s"), ("Queueing", "queue_s")):
        statistics = ("p50", "p99") if key in ("itl_s", "queue_s") else ("mean", "p50", "p90", "p99")
        scale = seconds_scale([metrics[f"{key}.{s}"].value for metrics in columns.values() for s in statistics])
        groups.append(MetricGroup(f"{label} ({scale.unit})", [row(s, f"{key}.{s}", scale) for s in statistics]))
    rows = []
    for key, label in {"offered": "offered", **{name: name for name in OUTCOMES}}.items():
        rows.append(MetricRow(label, "", [Cell(count(metrics[f"requests.{key}"].value)) for metrics in columns.values()]))
    rows.append(MetricRow("preemptions", "", [Cell(count(metrics["preemptions"].value)) for metrics in columns.values()]))
    return [*groups, MetricGroup("Requests", rows)], notes.notes


# --- engines ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineRow:
    """Shares (0 to 1) of the largest value in the column draw the bars behind the numbers."""

    name: str
    curve: Markup
    busy: str
    requests: str
    requests_share: float
    tokens: str
    tokens_share: float
    kv_peak: str


@dataclass(frozen=True, slots=True)
class EngineTable:
    rows: list[EngineRow]
    tokens_unit: str
    kv_unit: str
    note: str


def engine_table(view: RunView) -> EngineTable:
    """Each engine's busy share over the run, and in the measured window its busy share, requests, output tokens and peak of KV use.

    Of more than 64 engines, the 32 busiest and the 32 least busy.
    """
    start, end = view.record.window_s
    worked = np.zeros(len(view.engines))
    if end > start:
        worked = engine_time(view.record.steps, view.engines, Slices(start, end, 1)).busy[:, 0] * (end - start)
    life = spans(view.record.fleet, view.end_s, frozenset(SERVING), None)
    position = {name: i for i, name in enumerate(view.engines)}
    served = np.maximum(np.minimum(life.end_s, end) - np.maximum(life.start_s, start), 0.0)
    alive = tally(np.array([position[name] for name in life.engine], np.int32), len(view.engines), served)
    busy = np.divide(worked, alive, out=np.full(len(worked), math.nan), where=alive > 0)
    code, names = codes(view.record.requests, "engine")
    to_row = np.array([position.get(name, -1) for name in names] + [-1], np.int32)
    on = np.where(view.measured, to_row[code], -1)
    requests = tally(on, len(view.engines))
    tokens = tally(on, len(view.engines), view.column("output_tokens"))
    over_time = view.over_time
    curves = coarser(over_time.busy, SPARKLINE_BINS)
    knobs = engine_knobs(view.record.manifest)
    sizes = [knobs.get(engine, {}).get("kv_tokens_capacity", math.nan) for engine in view.engines]
    as_share = not np.isnan(sizes).any()
    kv = over_time.kv_peak / np.array(sizes) if as_share else over_time.kv_peak
    token_scale, kv_scale = count_scale(tokens.tolist()), PERCENT if as_share else count_scale(kv.tolist())
    shown, note = list(range(len(view.engines))), ""
    if len(view.engines) > MOST_ENGINES:
        ranked = np.argsort(-np.nan_to_num(busy), kind="stable")
        shown = [*ranked[: MOST_ENGINES // 2].tolist(), *ranked[-MOST_ENGINES // 2 :].tolist()]
        note = f"The {MOST_ENGINES // 2} busiest and the {MOST_ENGINES // 2} least busy of {len(view.engines):,} engines."
    rows = [
        EngineRow(
            name=view.engines[i],
            curve=sparkline(curves[i], f"busy {share(float(curves[i].min()))} to {share(float(curves[i].max()))}"),
            busy=share(float(busy[i])),
            requests=count(requests[i]),
            requests_share=float(requests[i] / max(requests.max(), 1.0)),
            tokens=token_scale.number(float(tokens[i])),
            tokens_share=float(tokens[i] / max(tokens.max(), 1.0)),
            kv_peak=kv_scale.number(float(kv[i])),
        )
        for i in shown
    ]
    return EngineTable(rows, f"{token_scale.unit} tokens".strip(), "%" if as_share else f"{kv_scale.unit} tokens".strip(), note)


# --- provenance -------------------------------------------------------------------------------------------------------


def provenance(record: Record) -> list[tuple[str, str]]:
    """The manifest in rows of (what, text), hashes in full. What a manifest does not tell is left out."""
    m = record.manifest
    fingerprint, workload = m.get("fingerprint", {}), m.get("workload", {})
    rows: list[tuple[str, Any]] = [
        ("TwinServe", m["twinserve"]),
        ("World", "simulator" if m["world"] == "sim" else "vLLM"),
        ("Seed", m["seed"]),
        ("Measured window", f"{number(record.window_s[0])}–{number(record.window_s[1])} s of {number(float(m['end_s']))} s"),
        ("Wall time", duration(m.get("wall_s"))),
        *((f"Policy: {point}", _policy(policy)) for point, policy in m.get("policies", {}).items()),
        *((f"Fingerprint {i}", _plain([one["name"], one["provenance"]])) for i, one in enumerate(m.get("fingerprints", []), 1)),
        ("Fingerprint", fingerprint.get("name")),
        ("· provenance", fingerprint.get("provenance")),
        ("· source", fingerprint.get("source")),
        ("· calibrated range", _plain(fingerprint.get("calibrated"))),
        ("Workload", workload.get("name")),
        *((f"· {key}", _plain(value)) for key, value in workload.items() if key != "name"),
        ("KV transfers", _events(m.get("kv_transfers"))),
        ("Failures", _events(m.get("faults"))),
        ("Price", _price(m.get("usd_per_gpu_hour"))),
        *((f"Hash: {name}", value) for name, value in m["hashes"].items()),
        ("Versions", ", ".join(f"{name} {version}" for name, version in m.get("versions", {}).items())),
    ]
    return [(label, str(value)) for label, value in rows if value not in (None, "", [], {})]


def scenario_text(record: Record) -> str:
    """The resolved scenario in its own language, so that it can be run again."""
    import yaml

    return yaml.safe_dump(record.manifest["scenario"], sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _policy(policy: Mapping[str, Any]) -> str:
    return " ".join([policy["name"], *(f"{key}={value}" for key, value in policy.get("params", {}).items())])


def _plain(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "; ".join(value)
    return json.dumps(value, ensure_ascii=False)


def _events(counts: Mapping[str, Any] | None) -> str | None:
    return None if counts is None else ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in counts.items())


def _price(price: Any) -> str | None:
    if isinstance(price, Mapping):
        return ", ".join(f"{kind} ${value:g}" for kind, value in price.items()) + " per GPU-hour"
    return None if price is None else f"${price:g} per GPU-hour"
