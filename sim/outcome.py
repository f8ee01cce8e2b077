"""The tables of the run record, made from the journal of a simulated run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from policies.types import EngineState
from sim.engine import Engine
from sim.journal import COMPLETED, Journal
from sim.tokens import TokenFacts, TokenTimes
from traces.arrow import column_of
from traces.scenario import Scenario
from traces.tables import FLEET, GAPS, OUTCOMES, REQUESTS, STEPS, make_table
from traces.workload import Workload


def tables(
    journal: Journal,
    workload: Workload,
    engines: Sequence[Engine],
    history: Sequence[tuple[float, int, EngineState]],
    scenario: Scenario,
) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """requests, steps, fleet and gaps. The journal's batches are forgotten on the way. ``history``: of ``sim.lifecycle``."""
    times = TokenTimes(journal, [engine.noise for engine in engines], [engine.steptime for engine in engines])
    names = [engine.id for engine in engines]
    facts = times.facts(workload.klass.astype(np.int64), workload.classes, np.frombuffer(journal.arrival_s))
    del times
    rows = journal.step_rows() if scenario.sim.steps else journal.step_rows()[:0]
    steps = _steps(rows, names, np.array([engine.block_tokens for engine in engines]))
    journal.forget_steps()
    return _requests(journal, workload, names, facts), steps, _fleet(engines, history), _gaps(facts, workload)


def _requests(journal: Journal, workload: Workload, engines: list[str], facts: TokenFacts) -> pa.Table:
    classes = workload.classes
    klass = workload.klass.astype(np.int64)
    arrival = np.frombuffer(journal.arrival_s)
    first = np.frombuffer(journal.first_token_s)
    outcome = np.frombuffer(journal.outcome, np.int8)
    generated = np.frombuffer(journal.generated, np.int32)
    last = np.where(outcome == COMPLETED, np.frombuffer(journal.last_token_s), np.nan)
    so_far = last
    if (outcome != COMPLETED).any():
        so_far = np.where(outcome == COMPLETED, last, facts.last_token_s)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(generated > 1, (so_far - first) / (generated - 1), np.nan)

    def by_class(values: Sequence[float | None]) -> np.ndarray:
        return np.array([np.nan if v is None else v for v in values])[klass]

    columns = {
        "id": np.arange(len(workload)),
        "class": (klass, [c.name for c in classes]),
        "tier": _named([c.tier for c in classes], klass),
        "model": _named([c.model for c in classes], klass),
        "offline": np.array([c.offline for c in classes])[klass],
        "slo_ttft_s": by_class([c.slo.ttft_s for c in classes]),
        "slo_tpot_s": by_class([c.slo.tpot_s for c in classes]),
        "slo_e2e_s": by_class([c.slo.e2e_s for c in classes]),
        "intended_arrival_s": arrival,
        "arrival_s": arrival,
        "engine": (np.frombuffer(journal.engine, np.int16), engines),
        "prompt_tokens": workload.prompt_tokens,
        "output_tokens": generated,
        "cached_tokens": np.frombuffer(journal.cached, np.int32),
        "queue_s": np.frombuffer(journal.first_scheduled_s) - arrival,
        "ttft_s": first - arrival,
        "tpot_s": tpot,
        "e2e_s": last - arrival,
        "dslo_lateness_s": facts.worst_lateness_s,
        "preemptions": np.frombuffer(journal.preemptions, np.int32),
        "drafted_tokens": np.frombuffer(journal.drafted, np.int32),
        "accepted_tokens": np.frombuffer(journal.accepted, np.int32),
        "outcome": (outcome, list(OUTCOMES)),
    }
    table = make_table(REQUESTS, columns)
    if np.diff(arrival).min(initial=0.0) >= 0:  # False where closed loops sent in an order of their own, or not all (NaN)
        return table
    order = np.argsort(arrival, kind="stable")
    return table.take(column_of(order[: np.count_nonzero(~np.isnan(arrival))]))


def _named(names: Sequence[str], klass: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """A name column from one name per class, some of which may be alike."""
    distinct = list(dict.fromkeys(names))
    return np.array([distinct.index(name) for name in names])[klass], distinct


def _steps(rows: np.ndarray, engines: list[str], block_tokens: np.ndarray) -> pa.Table:
    steps = rows["steps"]
    columns = {
        "engine": (rows["engine"], engines),
        "step": rows["step"],
        "steps": steps,
        "start_s": rows["start_s"],
        "duration_s": rows["end_s"] - rows["start_s"],
        "prefill_tokens": rows["prefill_tokens"],
        "prefill_attention": rows["prefill_attention"],
        "prefill_seqs": rows["prefill_seqs"],
        "decode_tokens": rows["decode_seqs"] * steps,
        "decode_context": rows["decode_context"],
        "spec_tokens": rows["verify_tokens"],
        "running": rows["running"],
        "waiting": rows["waiting"],
        "kv_tokens_used": rows["kv_blocks"] * block_tokens[rows["engine"]],
    }
    return make_table(STEPS, columns)


def _fleet(engines: Sequence[Engine], history: Sequence[tuple[float, int, EngineState]]) -> pa.Table:
    changed = [engines[index] for _, index, _ in history]
    columns = {
        "time_s": np.array([time for time, _, _ in history]),
        "engine": [engine.id for engine in changed],
        "model": [engine.model for engine in changed],
        "gpu": [engine.site.seat.gpu for engine in changed],
        "gpus": np.array([engine.site.seat.gpus * engine.site.seat.share for engine in changed]),
        "state": [str(state) for _, _, state in history],
    }
    return make_table(FLEET, columns)


def _gaps(facts: TokenFacts, workload: Workload) -> pa.Table:
    histograms = facts.gaps
    codes = np.concatenate([np.full(len(counts), code) for code, (_, counts) in histograms.items()])
    columns = {
        "class": (codes, [c.name for c in workload.classes]),
        "gap_s": np.concatenate([middles for middles, _ in histograms.values()]),
        "count": np.concatenate([counts for _, counts in histograms.values()]),
    }
    return make_table(GAPS, columns)
