"""The tables of the run record, made from the journal of a run on real engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from replay.journal import Journal
from replay.request import Request
from traces.scenario import Scenario
from traces.tables import FLEET, GAPS, OUTCOMES, REQUESTS, STEPS, make_table
from traces.workload import RequestClass

BIN = float(np.log(1.005))
"""Width of a gap bin on the natural-log scale: 0.5 %, as ``traces.tables.GAPS`` promises."""

_UNFINISHED = "unfinished"
Floats = NDArray[np.float64]


def tables(
    journal: Journal, classes: Sequence[RequestClass], engines: Sequence[str], scenario: Scenario
) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """requests, steps, fleet and gaps. ``engines``: ids by index."""
    requests = sorted(journal.requests, key=lambda request: (request.sent_s, request.id))
    rows = journal.step_rows() if scenario.sim.steps else journal.step_rows()[:0]
    return (
        _requests(requests, classes, engines),
        _steps(rows, engines),
        _fleet(journal, engines, scenario),
        _gaps(requests, classes),
    )


def _requests(requests: Sequence[Request], classes: Sequence[RequestClass], engines: Sequence[str]) -> pa.Table:
    klass = np.array([request.klass_code for request in requests], np.int64)
    sent = _floats([request.sent_s for request in requests])
    first = _floats([request.first_token_s for request in requests])
    last = _floats([request.last_token_s for request in requests])
    tokens = np.array([request.generated_tokens for request in requests], np.int64)
    outcome = [request.outcome or _UNFINISHED for request in requests]
    completed = np.array([name == OUTCOMES[0] for name in outcome], bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(tokens > 1, (last - first) / (tokens - 1), np.nan)
    place = {engine: index for index, engine in enumerate(engines)}

    def named(values: Sequence[str]) -> list[str]:
        return [values[code] for code in klass]

    def objective(values: Sequence[float | None]) -> Floats:
        return _floats(values)[klass]

    columns: dict[str, Any] = {
        "id": [request.id for request in requests],
        "class": (klass, [entry.name for entry in classes]),
        "tier": named([entry.tier for entry in classes]),
        "model": named([entry.model for entry in classes]),
        "offline": np.array([entry.offline for entry in classes])[klass],
        "slo_ttft_s": objective([entry.slo.ttft_s for entry in classes]),
        "slo_tpot_s": objective([entry.slo.tpot_s for entry in classes]),
        "slo_e2e_s": objective([entry.slo.e2e_s for entry in classes]),
        "intended_arrival_s": [request.arrival_s for request in requests],
        "arrival_s": sent,
        "engine": ([-1 if request.engine is None else place[request.engine] for request in requests], list(engines)),
        "prompt_tokens": [request.prompt_tokens for request in requests],
        "output_tokens": tokens,
        "cached_tokens": [request.cached_tokens for request in requests],
        "queue_s": _floats([request.first_scheduled_s for request in requests]) - sent,
        "ttft_s": first - sent,
        "tpot_s": tpot,
        "e2e_s": np.where(completed, last - sent, np.nan),
        "dslo_lateness_s": _floats([_lateness(request) for request in requests]),
        "preemptions": [request.preemptions for request in requests],
        "drafted_tokens": [request.drafted_tokens for request in requests],
        "accepted_tokens": [request.accepted_tokens for request in requests],
        "outcome": outcome,
    }
    return make_table(REQUESTS, columns)


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _lateness(request: Request) -> float | None:
    """The worst of the tokens' lateness against the DSLO."""
    slo = request.slo
    if slo.ttft_s is None or slo.tpot_s is None or not request.token_s:
        return None
    token_s = np.frombuffer(request.token_s)
    due = request.sent_s + slo.ttft_s + slo.tpot_s * np.arange(len(token_s))
    return float((token_s - due).max())


def _steps(rows: np.ndarray, engines: Sequence[str]) -> pa.Table:
    plain = {name: rows[name] for name in STEPS.names if name in (rows.dtype.names or ())}
    columns = plain | {
        "engine": (rows["engine"], list(engines)),
        "steps": np.ones(len(rows), np.int32),
        "duration_s": rows["end_s"] - rows["start_s"],
    }
    return make_table(STEPS, columns)


def _fleet(journal: Journal, engines: Sequence[str], scenario: Scenario) -> pa.Table:
    stages = sorted(journal.stages, key=lambda stage: stage.time_s)
    place = [pool for pool in scenario.pools for _ in pool.engines]
    columns = {
        "time_s": [stage.time_s for stage in stages],
        "engine": [engines[stage.engine] for stage in stages],
        "model": [place[stage.engine].model for stage in stages],
        "gpu": [place[stage.engine].hardware.gpu for stage in stages],
        "gpus": [float(place[stage.engine].gpus_per_engine * place[stage.engine].seat.share) for stage in stages],
        "state": [str(stage.state) for stage in stages],
    }
    return make_table(FLEET, columns)


def _gaps(requests: Sequence[Request], classes: Sequence[RequestClass]) -> pa.Table:
    """Gaps of zero length (tokens that came together) are in the lowest bin, of a picosecond."""
    tallies: list[dict[int, int]] = [{} for _ in classes]
    for request in requests:
        if request.generated_tokens > 1:
            gaps = np.maximum(np.diff(np.frombuffer(request.token_s)), 1e-12)
            bins, counts = np.unique(np.floor(np.log(gaps) / BIN).astype(np.int64), return_counts=True)
            tally = tallies[request.klass_code]
            for bin_, number in zip(bins.tolist(), counts.tolist(), strict=True):
                tally[bin_] = tally.get(bin_, 0) + number
    rows = [(code, bin_, tally[bin_]) for code, tally in enumerate(tallies) for bin_ in sorted(tally)]
    codes, bins, counts = (
        (np.array(column, np.int64) for column in zip(*rows, strict=True)) if rows else [np.empty(0, np.int64)] * 3
    )
    columns = {"class": (codes, [entry.name for entry in classes]), "gap_s": np.exp((bins + 0.5) * BIN), "count": counts}
    return make_table(GAPS, columns)
