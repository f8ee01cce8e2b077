"""report.html: one run on one self-contained page, verdict first. No script, no font, no picture from elsewhere."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from figures.fleetview import fleet_panels, pool_rows
from figures.headline import TARGET, delivers, verdict, what_ran
from figures.panels import RunView, latency_panels, time_panels
from figures.style import DARK, FONT, LIGHT, MONOSPACE, css_tones, css_variables
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
from figures.units import PLAIN, UNKNOWN, Scale, count_scale, seconds_scale
from traces.errors import InputError
from traces.metrics import Summary, summarise
from traces.record import Record


def write_report(record: Record, path: str | Path, summary: Summary | None = None) -> None:
    """Write the report of ``record`` to ``path``, whole or not at all. ``summary``: as made by ``summarise``, if at hand.

    Raises:
        InputError: ``path`` cannot be written.
    """
    target = Path(path)
    html = render(record, summarise(record) if summary is None else summary)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.writing")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(html, encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}; choose another place for the report") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def render(record: Record, summary: Summary) -> str:
    """The page as text. The same record and summary give the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    view = RunView(record)
    groups, notes = tier_groups(summary)
    rows, axis = attainment_rows(summary, view.tiers)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        style={"light": css_variables(LIGHT), "dark": css_variables(DARK), "tones": css_tones(), "font": FONT, "mono": MONOSPACE},
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
        pools=pool_rows(view),
        several_tiers=len(view.tiers) > 1,
        tiers={"columns": list(tier_columns(summary)), "groups": groups, "notes": [(letter(i), n) for i, n in enumerate(notes)]},
        engines=engine_table(view),
        provenance=provenance(record),
        scenario=scenario_text(record),
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
