"""The first lines of every view: what ran, and whether the target was met as far as the run can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from figures.units import PLAIN, Scale, share, share_interval

if TYPE_CHECKING:
    from traces.intervals import Estimate
    from traces.metrics import Summary
    from traces.record import Record

TARGET = 0.90
"""Share of offered requests that should meet their SLO (DESIGN §5: 90 % unless said)."""


class Standing(StrEnum):
    """Where an interval lies with respect to the target."""

    MET = "met"
    MISSED = "missed"
    OPEN = "open"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``head``: a few words. ``sentence``: the figure, its interval, the target, and the tiers that miss it."""

    standing: Standing
    head: str
    sentence: str


def standing(attainment: Estimate) -> Standing:
    """Met or missed only when the whole interval is on that side of the target."""
    if attainment.value is None:
        return Standing.NONE
    lo = attainment.value if attainment.lo is None else attainment.lo
    hi = attainment.value if attainment.hi is None else attainment.hi
    return Standing.MET if lo >= TARGET else Standing.MISSED if hi < TARGET else Standing.OPEN


def verdict(summary: Summary) -> Verdict:
    """On all requests with an SLO; a tier that misses the target for sure is named, and forbids a plain "met"."""
    attainment = summary.metrics["attainment"]
    where = standing(attainment)
    if where is Standing.NONE:
        few = "No request arrives in the measured window, so there is nothing to judge."
        free = "No measured request has a latency objective, so there is no attainment to judge."
        return Verdict(where, "No verdict", free if summary.metrics["requests.offered"].value else few)
    interval = share_interval(attainment.lo, attainment.hi)
    doubt = f"95 % interval {interval} %" if interval else "no interval"
    words = [
        f"{share(attainment.value)} of {attainment.n:,} offered requests met their SLO ({doubt}; target {100 * TARGET:g} %).",
    ]
    if where is Standing.OPEN:
        words.append("The interval spans the target: a longer run can tell.")
    missing = [name for name, metrics in summary.tiers.items() if standing(metrics["attainment"]) is Standing.MISSED]
    if missing and len(summary.tiers) > 1:
        named = ", ".join(f"{name} ({share(summary.tiers[name]['attainment'].value)})" for name in missing)
        words.append(f"Below target: tier{'s' if len(missing) > 1 else ''} {named}.")
    head = {Standing.MET: "Target met", Standing.MISSED: "Target missed", Standing.OPEN: "Too close to call"}[where]
    if where is Standing.MET and missing:
        where, head = Standing.MISSED, "Target missed by a tier"
    return Verdict(where, head, " ".join(words))


def delivers(summary: Summary) -> str:
    """Goodput and cost with their intervals: ``7.6 req/s in time (7.0–8.2), 1,661 tok/s out (1,402–1,921), at $4.7 …``."""
    metrics = summary.metrics

    def with_interval(key: str, scale: Scale, before: str, after: str) -> str:
        e = metrics[key]
        interval = scale.interval(e.lo, e.hi)
        return f"{before}{scale.number(e.value, e.lo, e.hi)}{after}" + (f" ({interval})" if interval else "")

    words = [with_interval("goodput_req_s", PLAIN, "goodput ", " req/s")] if metrics["goodput_req_s"].value is not None else []
    words.append(with_interval("throughput_tok_s", PLAIN, "", " output tok/s"))
    if metrics["usd_per_mtok"].value is not None:
        words.append(with_interval("usd_per_mtok", PLAIN, "$", " per million output tokens"))
    return ", ".join(words)


def what_ran(record: Record) -> str:
    """``simulated · 8 × h200 · llama-3.1-8b · router least-loaded · batcher vllm · seed 7``."""
    engines = {row["engine"]: row for row in record.fleet.select(["engine", "model", "gpu", "gpus"]).to_pylist()}
    gpus: dict[str, float] = {}
    for row in engines.values():
        gpus[row["gpu"]] = gpus.get(row["gpu"], 0) + row["gpus"]
    manifest = record.manifest
    parts = [where_it_ran(manifest)]
    limit = manifest["scenario"].get("inventory", {})
    parts += [f"{limit.get(kind, number):g} × {kind}" for kind, number in gpus.items()]
    parts += list(dict.fromkeys(row["model"] for row in engines.values()))
    parts += [f"{point} {policy['name']}" for point, policy in sorted(manifest.get("policies", {}).items(), reverse=True)]
    return " · ".join([*parts, f"seed {manifest['seed']}"])


def where_it_ran(manifest: Mapping[str, Any]) -> str:
    """``simulated``, or ``measured on vLLM`` and on what stand-in, if it was not the scenario's own model on its own GPUs."""
    if manifest["world"] == "sim":
        return "simulated"
    mode, choice = manifest.get("mode"), manifest["scenario"].get("replay", {})
    if mode == "virtual":
        return "vLLM's scheduler in virtual time"
    sizes = choice.get("shape", "full")
    size = " or ".join(sorted({*sizes.values()})) if isinstance(sizes, dict) else sizes
    stand_ins = {"a CPU": manifest.get("device") == "cpu", f"a {size} model": size != "full"}
    found = [name for name, holds in stand_ins.items() if holds]
    if mode == "attached" or not found:
        return "measured on vLLM"
    return f"measured on vLLM, {' and '.join(found)} in place of"
