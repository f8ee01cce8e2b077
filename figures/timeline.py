"""A run record as a timeline for Perfetto (ui.perfetto.dev) or chrome://tracing.

Engines are processes. Each has a track of its steps, one of its states, and counters of running and waiting requests and of KV
memory. Each request is an asynchronous track of its engine, split into queueing, prefill and decode, with an arrow from its
arrival at the router to its first step. Decisions of routers, scalers and batchers that say more than the usual are instants.

Format: Google's Trace Event Format, JSON; times in µs.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from traces.errors import InputError
from traces.record import Record

Event = dict[str, Any]

FILE = "timeline.json.gz"
"""What a record's timeline is called where nothing else is said."""
ROUTER = 0
"""The process of what has no engine."""
_STEPS, _STATES = 1, 2
_POINTS = ("router", "scaler", "speculator")
"""Whose decisions are shown; batchers decide too often, unless they preempt."""


def write_timeline(record: Record, path: Path, window_s: tuple[float, float] | None = None) -> Path:
    """Writes the timeline, whole or not at all; gzipped where the name ends in ``.gz``, which Perfetto opens too.

    ``window_s``: only what touches [start, end); all of the run where it is left out.

    Raises:
        InputError: the window is empty, or the file cannot be written.
    """
    window = window_s or (0.0, math.inf)
    if not window[0] < window[1]:
        raise InputError(f"--window {window[0]:g}..{window[1]:g}: is empty; give a start before its end")
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")  # of the same ending
    try:
        with _opened(temporary) as file:
            file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
            first = True
            for event in events(record, window):
                file.write(("" if first else ",\n") + json.dumps(event, ensure_ascii=False))
                first = False
            file.write("\n]}\n")
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}; choose another file with --out") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """For writing text; the same text gives the same bytes, gzipped too."""
    if path.suffix != ".gz":
        with path.open("w", encoding="utf-8") as plain:
            yield plain
        return
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, TextIOWrapper(packed, "utf-8") as text:
        yield text


def parse_window(text: str) -> tuple[float, float]:
    """``30s..40s`` → seconds.

    Raises:
        InputError: it is not of that form.
    """
    from traces.units import parse_duration

    start, dots, end = text.partition("..")
    try:
        return (parse_duration(start) if start else 0.0), (parse_duration(end) if end and dots else math.inf)
    except ValueError as error:
        raise InputError(f"--window {text}: {error}; write it like 30s..40s") from None


def events(record: Record, window_s: tuple[float, float] = (0.0, math.inf)) -> Iterator[Event]:
    """The events of a record, by kind; the viewer sorts them by time."""
    processes = _processes(record)
    yield from _names(record, processes)
    yield from _states(record, processes, window_s)
    yield from _steps(record, processes, window_s)
    yield from _requests(record, processes, window_s)
    if record.decisions is not None:
        yield from _decisions(record.decisions, processes, window_s)


def _processes(record: Record) -> Mapping[str, int]:
    """Engine → number of its process; in the order of the fleet."""
    names = dict.fromkeys(record.fleet.column("engine").to_pylist())
    return {name: i + 1 for i, name in enumerate(names)}


def _names(record: Record, processes: Mapping[str, int]) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": ROUTER, "args": {"name": "router and scaler"}}
    about = {row["engine"]: f"{row['model']} on {row['gpus']:g}×{row['gpu']}" for row in record.fleet.to_pylist()}
    for engine, pid in processes.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": f"{engine}: {about[engine]}"}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": _STEPS, "args": {"name": "steps"}}
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": _STATES, "args": {"name": "state"}}


def _states(record: Record, processes: Mapping[str, int], window_s: tuple[float, float]) -> Iterator[Event]:
    end = float(record.manifest["end_s"])
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in record.fleet.to_pylist():
        rows.setdefault(row["engine"], []).append(row)
    for engine, changes in rows.items():
        ends = [*(after["time_s"] for after in changes[1:]), end]
        for row, until in zip(changes, ends, strict=True):
            if _touches(row["time_s"], until, window_s):
                yield _slice(row["state"], processes[engine], _STATES, row["time_s"], until - row["time_s"], {})


def _steps(record: Record, processes: Mapping[str, int], window_s: tuple[float, float]) -> Iterator[Event]:
    for batch in record.steps.to_batches():
        for row in batch.to_pylist():
            start, lasts = row["start_s"], row["duration_s"]
            if not _touches(start, start + lasts, window_s):
                continue
            pid = processes[row["engine"]]
            parts = (("prefill", row["prefill_tokens"]), ("decode", row["decode_tokens"]), ("verify", row["spec_tokens"]))
            name = " + ".join(f"{what} {tokens}" for what, tokens in parts if tokens) or "empty"
            args = {key: row[key] for key in ("step", "steps", "prefill_seqs", "decode_context", "running", "waiting")}
            yield _slice(name, pid, _STEPS, start, lasts, args)
            yield _counter("requests", pid, start, {"running": row["running"], "waiting": row["waiting"]})
            yield _counter("KV tokens", pid, start + lasts, {"used": row["kv_tokens_used"]})


def _requests(record: Record, processes: Mapping[str, int], window_s: tuple[float, float]) -> Iterator[Event]:
    end = float(record.manifest["end_s"])
    for batch in record.requests.to_batches():
        for row in batch.to_pylist():
            arrival = row["arrival_s"]
            over = end if row["e2e_s"] is None else arrival + row["e2e_s"]
            if not _touches(arrival, over, window_s):
                continue
            pid = processes.get(row["engine"], ROUTER)
            name = f"{row['tier']} {row['id']}"
            args = {key: row[key] for key in ("class", "prompt_tokens", "output_tokens", "cached_tokens", "preemptions", "outcome")}
            yield _span("b", name, row, pid, arrival, args)
            scheduled = None if row["queue_s"] is None else arrival + row["queue_s"]
            first = None if row["ttft_s"] is None else arrival + row["ttft_s"]
            phases = (("queue", arrival, scheduled), ("prefill", scheduled, first), ("decode", first, over))
            for phase, start, until in phases:
                if start is not None:
                    yield _span("b", phase, row, pid, start, {})
                    yield _span("e", phase, row, pid, over if until is None else until, {})
            yield _span("e", name, row, pid, over, {})
            if scheduled is not None and pid != ROUTER:
                flow = {"cat": "routed", "name": "routed", "id": row["id"]}
                yield {"ph": "s", "pid": ROUTER, "tid": 0, "ts": _us(arrival), **flow}
                yield {"ph": "f", "bp": "e", "pid": pid, "tid": _STEPS, "ts": _us(scheduled), **flow}


def _decisions(
    decisions: Iterable[Mapping[str, Any]], processes: Mapping[str, int], window_s: tuple[float, float]
) -> Iterator[Event]:
    for decision in decisions:
        point, now = decision.get("point"), decision.get("now_s")
        if now is None or not _touches(now, now, window_s) or not (point in _POINTS or decision.get("preempt")):
            continue
        engine = decision.get("engine")
        here = point in ("batcher", "speculator") and engine in processes
        args = {key: value for key, value in decision.items() if key in ("reason", "scores", "engine", "changes", "preempt")}
        if (request := decision.get("request")) is not None:
            args["request"] = request.get("id") if isinstance(request, Mapping) else request
        yield {
            "ph": "i", "s": "p" if here else "g", "name": f"{point}: {decision.get('decision')}", "ts": _us(now),
            "pid": processes[engine] if here else ROUTER, "tid": 0, "cat": point, "args": args,
        }  # fmt: skip


def _touches(start: float, end: float, window_s: tuple[float, float]) -> bool:
    return start < window_s[1] and end >= window_s[0]


def _us(seconds: float) -> float:
    return round(1e6 * seconds, 3)


def _slice(name: str, pid: int, tid: int, start_s: float, lasts_s: float, args: Mapping[str, Any]) -> Event:
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": _us(start_s), "dur": _us(lasts_s), "args": args}


def _counter(name: str, pid: int, at_s: float, values: Mapping[str, Any]) -> Event:
    return {"ph": "C", "name": name, "pid": pid, "ts": _us(at_s), "args": values}


def _span(phase: str, name: str, row: Mapping[str, Any], pid: int, at_s: float, args: Mapping[str, Any]) -> Event:
    """One end of an asynchronous slice; those of a request share its id and nest."""
    return {"ph": phase, "cat": "request", "name": name, "id": row["id"], "pid": pid, "tid": 0, "ts": _us(at_s), "args": args}
