"""A plan on the terminal, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from figures.units import UNKNOWN, number
from sim.plan import Alternative, Plan
from traces.intervals import Estimate


def print_plan(plan: Plan, attainment: float, console: Console) -> None:
    """The demand in a sentence, then one row per alternative, cheapest first."""
    demand, slo = plan.demand, plan.demand.slo
    limits = [f"{name} {limit * 1e3:g} ms" for name, limit in (("TTFT", slo.ttft_s), ("TPOT", slo.tpot_s)) if limit is not None]
    console.print(
        f"{demand.model}, {demand.rate_per_s:.1f} requests/s of {demand.prompt_tokens:,.0f} + {demand.output_tokens:,.0f} tokens "
        f"on average; {attainment:.0%} must meet their SLO (decided by {' and '.join(limits)}).",
        highlight=False,
    )
    several = len({a.policy for a in plan.alternatives}) > 1
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("engine", no_wrap=True)
    if several:
        table.add_column("policy", no_wrap=True)
    for heading in ("engines", "$/h", "$/Mtok", "attained", "TTFT p99", "TPOT p99 (ms)"):
        table.add_column(heading, justify="right")
    for a in plan.alternatives:
        name, policy, *cells = _cells(a)
        table.add_row(name, *([policy] if several else []), *cells)
    console.print(table)
    if marks := {a.candidate.provenance for a in plan.alternatives if a.candidate.provenance in _MARKS}:
        console.print(Text("; ".join(f"{_MARKS[mark]} step times are {mark}: {_SAID[mark]}" for mark in sorted(marks)), "yellow"))
    failed = sum(a.engines is None for a in plan.alternatives)
    console.print(
        Text(
            f"{plan.considered} kinds of engine estimated in closed form, {len(plan.alternatives)} simulated in "
            f"{sum(a.runs for a in plan.alternatives)} runs"
            + (f"; {failed} fail with the GPUs there are" if failed else "")
            + ". + means that fewer or more cannot be told from noise.",
            "dim",
        )
    )


_MARKS = {"assembled": "†", "analytic": "‡", "end-to-end": "§"}
_SAID = {
    "assembled": "from operators measured one by one",
    "analytic": "a guess from data sheets",
    "end-to-end": "fitted to whole runs",
}


def _cells(a: Alternative) -> tuple[Text, ...]:
    c = a.candidate.configuration
    stages = f" {c.pipeline_parallel} stages" if c.pipeline_parallel > 1 else ""
    kv = f", KV {c.kv_precision}" if c.kv_precision != "bf16" else ""
    name = Text(f"{c.gpus}×{c.gpu}{stages} {c.precision}{kv}{_MARKS.get(a.candidate.provenance, '')}")
    policy = Text(" ".join(p.removeprefix("policy=").removeprefix("policy.") for p in a.policy) or "as in the file")
    if a.engines is None:
        return (name, policy, Text(UNKNOWN), *(Text(UNKNOWN) for _ in range(5)))
    within = "" if a.lo is not None and a.hi is not None and a.hi - a.lo <= 1 else "+"
    attained = a.found["attainment"].value
    return (
        name,
        policy,
        Text(f"{a.engines}{within}"),
        Text(f"{a.usd_per_hour:,.2f}"),
        Text(_plain(a.found.get("usd_per_mtok"))),
        Text(UNKNOWN if attained is None else f"{attained:.1%}"),
        Text(_ms(a.found.get("ttft_s.p99"))),
        Text(_ms(a.found.get("tpot_s.p99"))),
    )


def _ms(estimate: Estimate | None) -> str:
    return UNKNOWN if estimate is None or estimate.value is None else number(1e3 * estimate.value, None, None)


def _plain(estimate: Estimate | None) -> str:
    return UNKNOWN if estimate is None or estimate.value is None else number(estimate.value, None, None)


def plan_json(plan: Plan) -> dict[str, Any]:
    """Plain data; unknown and infinite are null."""
    return {
        "demand": dataclasses.asdict(plan.demand),
        "considered": plan.considered,
        "alternatives": [
            {
                **dataclasses.asdict(a.candidate.configuration),
                "policy": list(a.policy),
                "engines": a.engines,
                "engines_lo": a.lo,
                "engines_hi": a.hi,
                "gpus": a.gpus,
                "usd_per_hour": None if a.engines is None else a.usd_per_hour,
                "step_times": a.candidate.provenance,
                "expected_engines": a.candidate.replicas,
                "metrics": {name: _estimate_json(found) for name, found in a.found.items()},
                "runs": a.runs,
                "note": a.note,
            }
            for a in plan.alternatives
        ],
    }


def _estimate_json(estimate: Estimate) -> Mapping[str, Any]:
    return {"value": estimate.value, "lo": estimate.lo, "hi": estimate.hi, "n": estimate.n}
