"""report.html: one run on one self-contained page, verdict first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from figures.fleetview import fleet_panels, pool_rows
from figures.headline import TARGET, delivers, verdict, what_ran
from figures.pages import page as pages
from figures.pages.page import write_page
from figures.panels import RunView, latency_panels, time_panels
from figures.tables import (
    Footnotes,
    attainment_rows,
    cell,
    engine_table,
    letter,
    provenance,
    scenario_text,
    share_cell,
    tier_columns,
    tier_groups,
)
from figures.timeline import FILE as TIMELINE
from figures.units import PLAIN, UNKNOWN, Scale, count_scale, seconds_scale
from traces.metrics import Summary, summarise
from traces.record import Record


def write_report(record: Record, path: str | Path, summary: Summary | None = None) -> None:
    """Write the report of ``record`` to ``path``, whole or not at all. ``summary``: as made by ``summarise``, if at hand.

    A timeline that lies beside the page is linked to.

    Raises:
        InputError: ``path`` cannot be written.
    """
    beside = (Path(path).parent / TIMELINE).is_file()
    write_page(render(record, summarise(record) if summary is None else summary, timeline=beside), path)


def render(record: Record, summary: Summary, *, timeline: bool = False) -> str:
    """The page as text. The same record and summary give the same text. ``timeline``: one lies beside the page."""
    view = RunView(record)
    groups, notes = tier_groups(summary)
    rows, axis = attainment_rows(summary, view.tiers)
    pools, several_tiers = pool_rows(view), len(view.tiers) > 1
    sections = {
        "key": "Key figures",
        "latency": "Latency",
        "time": "Over the run",
        **({"pools": "Pools"} if pools else {}),
        "engines": "Engines",
        "tiers": "Tiers" if several_tiers else "Metrics",
        "manifest": "Provenance",
    }
    return pages.render(
        "run.html.j2",
        sections=list(sections.items()),
        scenario_name=summary.scenario,
        what_ran=what_ran(record),
        verdict=verdict(summary),
        delivers=delivers(summary),
        binding=summary.binding,
        warnings=list(summary.warnings),
        key_figures=key_figures(summary),
        target=f"{100 * TARGET:g}",
        attainment={"rows": rows, "axis": axis},
        latencies=latency_panels(view),
        timelines=[*time_panels(view), *fleet_panels(view)],
        pools=pools,
        several_tiers=several_tiers,
        tiers={"columns": list(tier_columns(summary)), "groups": groups, "notes": [(letter(i), n) for i, n in enumerate(notes)]},
        engines=engine_table(view),
        provenance=provenance(record),
        scenario=scenario_text(record),
        timeline=TIMELINE if timeline else "",
    )


@dataclass(frozen=True, slots=True)
class KeyFigure:
    label: str
    text: str
    unit: str
    interval: str


def key_figures(summary: Summary) -> list[KeyFigure]:
    """The eight figures that a planner asks for first."""

    def figure(label: str, key: str, scale: Scale, unit: str = "") -> KeyFigure:
        shown = cell(summary.metrics[key], scale, Footnotes())
        return KeyFigure(label, shown.text, unit or scale.unit, shown.interval)

    def latency(label: str, key: str) -> KeyFigure:
        return figure(label, key, seconds_scale([summary.metrics[key].value]))

    def share_figure(label: str, key: str) -> KeyFigure:
        shown = share_cell(summary.metrics[key], Footnotes())
        return KeyFigure(label, shown.text.removesuffix(" %"), "%" if shown.text != UNKNOWN else "", shown.interval)

    tokens = count_scale([summary.metrics["throughput_tok_s"].value])
    cost = cell(summary.metrics["usd_per_mtok"], PLAIN, Footnotes())
    gpu_hours = Scale("GPU-hours", 1 / 3600)
    return [
        figure("Goodput", "goodput_req_s", PLAIN, "req/s"),
        figure("Output throughput", "throughput_tok_s", tokens, f"{tokens.unit} tok/s".strip()),
        latency("TTFT, p99", "ttft_s.p99"),
        latency("TPOT, p99", "tpot_s.p99"),
        KeyFigure("Cost per M output tokens", cost.text if cost.text == UNKNOWN else f"${cost.text}", "", cost.interval),
        figure("GPU time", "gpu_s", gpu_hours),
        share_figure("Engines busy", "busy"),
        share_figure("KV memory used", "kv_use.mean"),
    ]
