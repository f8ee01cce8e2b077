"""The metric dictionary as tables: from the code, with what the code does not say of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from traces.metrics import METRICS
from traces.tables import TABLES

Rows = tuple[list[str], list[list[str]]]

CENSORED: Mapping[str, str] = {
    "ttft_s": "requests without a first token at the end of the run: left out",
    "tpot_s": "requests with fewer than two tokens: left out; an unfinished one counts with the tokens that it has",
    "itl_s": "gaps that were not over at the end of the run: left out",
    "e2e_s": "requests that did not complete: left out, so that it flatters a run with many unfinished ones; see attainment",
    "queue_s": "requests never scheduled: left out",
    "attainment": "nothing: whatever did not complete counts as missed; requests without an SLO are not judged",
    "attainment_admitted": "requests shed or never assigned: left out",
    "attainment_dslo": "nothing: whatever did not complete counts as missed; requests without both objectives are not judged",
    "goodput_req_s": "nothing: whatever did not complete counts as missed",
    "goodput_tok_s": "tokens of requests that missed: left out",
    "throughput_req_s": "completions after the window: left out",
    "throughput_tok_s": "tokens outside the window: left out",
    "throughput_input_tok_s": "prompts whose first token came outside the window: left out",
    "prefix_hit": "requests never scheduled: left out",
    "draft_acceptance": "unknown where nothing was drafted",
    "accepted_per_verification": "unknown where nothing was drafted",
    "preemptions": "nothing",
    "requests": "nothing: offered = completed + shed + unfinished + failed",
    "gpu_s": "parked and released engines: cost nothing",
    "usd": "unknown without a price",
    "usd_per_mtok": "unknown without a price or tokens",
    "busy": "engines that start, are parked or have failed: left out",
    "kv_use": "engines that start, are parked or have failed: left out; unknown where the capacity is",
}
"""Metric → what has no value and how that is treated."""

SUMMARY: Mapping[str, str] = {
    "scenario": "name of the scenario",
    "record": "folder of the record; null when it was not written",
    "verdict": "mode by which requests are judged: auto, ttft+tpot, dslo or e2e",
    "metrics": "metric → value, over all requests",
    "tiers": "the same by tier, where the metric is known per tier",
    "classes": "the same by workload entry, or arm of its SLO mix",
    "warnings": "what speaks against believing the run, one sentence each",
    "binding": "what limits attainment, or how much headroom is left",
}

MANIFEST: Mapping[str, str] = {
    "twinserve": "version that wrote the record",
    "record_version": "of the record's form",
    "world": "sim or replay",
    "scenario": "as resolved, all defaults filled in, SI units",
    "seed": "of all random numbers",
    "window_s": "start and end of the measured window, s since the run's start",
    "end_s": "when the run ended, s since its start",
    "policies": "per decision point, name and parameters",
    "engines": "per engine, KV capacity (tokens) and batch limits",
    "usd_per_gpu_hour": "price, or one per GPU type",
    "noise": "standard deviation of step times as a share of the mean",
    "fingerprint": "whose step times: name, provenance, engine version, source, calibrated range (of several: `fingerprints`)",
    "workload": "number of requests, source, licence and citation of the trace, rate, seed",
    "hashes": "of code, configuration, trace and fingerprint; equal hashes, equal tables",
    "versions": "of Python and libraries",
    "extrapolated": "in which features steps left the calibrated range, and how often",
    "warnings": "that hold for every table made of the record",
    "partial": "whether the run was stopped before its end",
    "loop_s": "seconds of wall time in the event loop",
    "loop_events": "events processed",
    "wall_s": "seconds of wall time in all",
}
"""Keys of the manifest of a plain simulated run; replays, faults and transfers add their own."""


def metrics() -> Rows:
    """Every metric: its keys, unit, definition, and what is censored."""
    rows = []
    for metric in METRICS:
        statistics = f" .{', .'.join(metric.statistics)}" if metric.statistics else ""
        scope = "" if metric.per_group else " Of the fleet as a whole."
        rows.append([f"`{metric.key}`{statistics}", metric.unit, metric.definition + scope, CENSORED[metric.key]])
    return ["key, statistics", "unit", "definition", "where it is censored"], rows


def aliases() -> Rows:
    """What other tools call a metric."""
    tools = list(dict.fromkeys(tool for metric in METRICS for tool in metric.aliases))
    named = [metric for metric in METRICS if metric.aliases]
    return ["key", *tools], [[f"`{m.key}`", *(f"`{m.aliases[t]}`" if t in m.aliases else "–" for t in tools)] for m in named]


def columns(name: str) -> Rows:
    """The columns of one of a record's tables."""
    return ["column", "type", "meaning, unit, null"], [[f"`{f.name}`", _kind(f), f.metadata[b"doc"].decode()] for f in TABLES[name]]


def keys_of_summary() -> Rows:
    """What ``run --json`` prints."""
    return ["key", "holds"], _described(SUMMARY)


def keys_of_manifest() -> Rows:
    """What ``manifest.json`` holds."""
    return ["key", "holds"], _described(MANIFEST)


def _described(keys: Mapping[str, str]) -> list[list[str]]:
    return [[f"`{key}`", text] for key, text in keys.items()]


def _kind(field: pa.Field) -> str:
    kind: Sequence[str] = ["name" if pa.types.is_dictionary(field.type) else str(field.type).replace("double", "float64")]
    return " or ".join([*kind, "null"] if field.nullable else kind)
