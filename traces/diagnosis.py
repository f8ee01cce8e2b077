"""What a reader must know before trusting a summary (warnings), and what keeps attainment from being higher (binding)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from traces.arrow import truths
from traces.record import Record
from traces.slices import Floats
from traces.stationarity import cold_cache, crowd_growth, filling_s, first_wave_s, queue_growth
from traces.tables import codes, floats
from traces.usage import engine_knobs
from traces.verdicts import TOLERANCE_S, judge

if TYPE_CHECKING:
    from traces.metrics import Summary

KV_FULL = 0.95
"""Share of KV memory in use from which a waiting request is taken to wait for memory."""
UNFINISHED = 0.01
"""Share of unfinished requests from which their censored latencies distort percentiles."""
_EMPTYING = 0.1
_TWO_SIDED = 1.96
_NEGLIGIBLE = 0.05
_MEANT_AS_MS = {"slo_ttft_s": 50.0, "slo_tpot_s": 5.0}
"""Objectives, in seconds, from which a plain number is likely to have been meant as milliseconds."""
_QUEUEING = 0.3
"""Of TTFT, from which time spent before an engine is what a request waits for."""


def warnings(record: Record, summary: Summary) -> list[str]:
    """The manifest's warnings and what the record itself shows, one sentence each."""
    return [*map(str, record.manifest.get("warnings", [])), *_found(record, summary)]


def _found(record: Record, summary: Summary) -> Iterator[str]:
    requests = record.requests
    start_s, end_s = record.window_s
    if record.partial:
        yield f"the run was stopped at {record.manifest['end_s']:g} s, before its end: the figures cover what had happened by then"
    if not (offered := summary.metrics["requests.offered"].value):
        yield f"no request arrives in the measured window, {start_s:g} to {end_s:g} s: nothing was measured"
        return
    online = ~truths(requests.column("offline"))
    arrival = floats(requests, "arrival_s")
    measured = online & (arrival >= start_s) & (arrival < end_s)
    outcome, names = codes(requests, "outcome")
    total = int(measured.sum())
    left = int((measured & (outcome == names.index("unfinished"))).sum()) if "unfinished" in names else 0
    if left > UNFINISHED * total:
        yield (
            f"{left:,} of {total:,} measured online requests were unfinished when the run ended: they count as misses, and their "
            f"latencies are missing from the percentiles; run longer, or end the measured window earlier"
        )
    refused = np.isin(outcome, [names.index(name) for name in ("shed", "failed") if name in names])
    queue = floats(requests, "queue_s")
    waited = np.where(np.isnan(queue), floats(requests, "ttft_s"), queue)  # a server need not tell, but its first token does
    scheduled = arrival + waited
    counted = online & ~(refused & np.isnan(scheduled))
    gone = arrival + floats(requests, "e2e_s")
    course = _Online(arrival[counted], scheduled[counted], gone[counted], ~refused[counted])
    yield from _course(course, start_s, end_s, float(record.manifest["end_s"]))
    prompt, cached = floats(requests, "prompt_tokens"), floats(requests, "cached_tokens")
    told = measured & ~np.isnan(cached)
    if cold := cold_cache(arrival[told], prompt[told], cached[told], start_s, end_s):
        yield (
            f"prefix caches were still filling when the measured window began: they held {_percent(cold.early)} of the prompt "
            f"tokens of its first quarter, {_percent(cold.late)} of its second half; leave that out: "
            f"`warmup: {_tidy(cold.until_s)}`"
        )
    yield from _objectives(record)
    if offered < 100:
        yield f"only {offered:g} requests were measured: too few for a p99"


def _objectives(record: Record) -> Iterator[str]:
    """On objectives that nobody means: a plain number in a scenario counts seconds."""
    tier, names = codes(record.requests, "tier")
    for column, least in _MEANT_AS_MS.items():
        limit = floats(record.requests, column)
        for code, name in enumerate(names):
            if len(beyond := limit[(tier == code) & (limit >= least)]):
                metric, value = column.split("_")[1], f"{beyond[0]:g}"
                yield (
                    f"tier {name} is promised a {metric.upper()} of {value} s, which all meet: a plain number counts seconds; "
                    f"write {metric}: {value}ms if that was meant"
                )


@dataclass(frozen=True, slots=True)
class _Online:
    """Requests that someone waits for and that were not turned away. NaN = never. ``finishing``: not given up on the way."""

    arrival_s: Floats
    scheduled_s: Floats
    gone_s: Floats
    finishing: NDArray[np.bool_]


def _course(online: _Online, start_s: float, end_s: float, stopped_s: float) -> Iterator[str]:
    """On how the run went in time: overload; else what of the window lies outside a steady state."""
    arrival, gone = online.arrival_s[online.finishing], online.gone_s[online.finishing]
    overloaded = "the fleet is overloaded, and percentiles, which depend on how long it ran, mean nothing"
    queue = queue_growth(online.arrival_s, online.scheduled_s, stopped_s)
    if queue is not None and queue.shown:
        yield f"the queue was still growing at the end ({queue.early:,.0f}, then {queue.late:,.0f} requests waiting): {overloaded}"
        return
    crowd = crowd_growth(arrival, gone, stopped_s)
    if crowd is not None and crowd.shown:
        grew = f"ever more requests were under way ({crowd.early:,.0f}, then {crowd.late:,.0f})"
        if not crowd.may_fill:
            yield f"{grew}: {overloaded}"
            return
        yield (
            f"whether the fleet keeps up is open: {grew}, as under overload, and as in a fleet that fills near its limit; "
            f"percentiles depend on how long it ran: run longer"
        )
    elif unsure := [growth for growth in (queue, crowd) if growth is not None and growth.open]:
        clearest = min(unsure, key=lambda growth: growth.least_overload)
        yield (
            f"whether the fleet keeps up is open: what waits grew by {_percent(clearest.share)} of the arrivals, and luck makes "
            f"±{_percent(_TWO_SIDED * clearest.error)}; an overload below {_percent(clearest.least_overload)} need not show in so "
            f"short a run: run longer"
        )
    if wave := first_wave_s(arrival, gone):
        if start_s < wave[1] < end_s:
            yield (
                f"the first {wave[0]:,} requests came all at once, as they only do when a closed loop begins, and are measured; "
                f"leave them out: `warmup: {_tidy(wave[1])}`"
            )
    elif filled_s := filling_s(arrival, gone, start_s, end_s):
        yield (
            f"the fleet was still filling when the measured window began: until about {filled_s:.3g} s fewer requests were under "
            f"way than later, which flatters the figures; leave that out: `warmup: {_tidy(filled_s)}`"
        )
    took = (gone - arrival)[(arrival >= start_s) & (arrival < end_s) & ~np.isnan(gone)]
    if len(took) and (share := float(took.mean()) / (end_s - start_s)) > _EMPTYING:
        yield (
            f"the measured window is short beside a request: one takes {took.mean():.3g} s on average, {_percent(share)} of the "
            f"measured window, so that many finish after the last arrival, in a fleet that empties, which flatters; run longer"
        )


def _tidy(seconds: float) -> str:
    """A round number of seconds, not less."""
    unit = 10.0 ** math.floor(math.log10(max(seconds, 1.0)))
    step = unit / 2 if unit > 1 else 1.0
    return f"{math.ceil(seconds / step) * step:g}s"


def binding(record: Record, summary: Summary) -> str:
    """In words: which limit of which tier is missed most, and which resource was short; or how much headroom is left."""
    pressure = _pressure(record)
    busy = summary.metrics["busy"].value
    busy_words = "" if busy is None else f"; engines are busy {_percent(busy)} of the time"
    attainment = summary.metrics["attainment"].value
    if attainment is None:
        why = "no SLO is set" if summary.metrics["requests.offered"].value else "no request was measured"
        return f"{why}, so no limit can bind{busy_words}"
    tightest = _tightest(record, summary.verdict)
    if attainment >= 0.99 and tightest is not None and tightest.share <= 1:
        return (
            f"nothing binds: {_percent(1 - tightest.share)} headroom ({tightest.limit} p99 of tier {tightest.tier} is at "
            f"{_percent(tightest.share)} of its limit){busy_words}"
        )
    worst = _most_missed(record, summary.verdict)
    if worst is None:
        return f"nothing binds: no measured request misses its SLO{busy_words}"
    return f"{worst}; {_shortage(summary, pressure)}{busy_words}"


@dataclass(frozen=True, slots=True)
class _Tightest:
    tier: str
    limit: str
    share: float


def _tightest(record: Record, verdict: str) -> _Tightest | None:
    """The limit whose p99, as a share of the limit, is largest."""
    requests = record.requests
    measured = _measured(record)
    tier, names = codes(requests, "tier")
    limits = {"e2e": ("e2e",), "auto": ("ttft", "tpot", "e2e")}.get(verdict, ("ttft", "tpot"))
    found = []
    for limit in limits:
        share = floats(requests, f"{limit}_s") / floats(requests, f"slo_{limit}_s")
        known = measured & ~np.isnan(share)
        found += [
            _Tightest(name, limit.upper(), float(np.quantile(share[rows], 0.99)))
            for code, name in enumerate(names)
            if (rows := known & (tier == code)).any()
        ]
    return max(found, key=lambda one: one.share, default=None)


def _most_missed(record: Record, verdict: str) -> str | None:
    requests = record.requests
    verdicts = judge(requests, verdict)
    judged = _measured(record) & verdicts.judged
    missed = judged & ~verdicts.met
    if not missed.any():
        return None
    tier, names = codes(requests, "tier")
    counts = np.bincount(tier[missed], minlength=len(names))
    code = int(counts.argmax())
    rows = missed & (tier == code)
    outcome, outcomes = codes(requests, "outcome")
    shed = outcome == (outcomes.index("shed") if "shed" in outcomes else -2)
    pace = floats(requests, "dslo_lateness_s") > TOLERANCE_S if verdict == "dslo" else verdicts.late_tpot
    causes = {
        "got shed": rows & shed,
        "had a late first token (TTFT)": rows & ~shed & verdicts.late_ttft & (verdict != "e2e"),
        "decoded too slowly (TPOT)": rows & ~shed & pace & ~verdicts.late_ttft & (verdict != "e2e"),
        "took too long as a whole (E2E)": rows & ~shed & verdicts.late_e2e & (verdict in ("e2e", "auto")),
    }
    numbers = {words: int(mask.sum()) for words, mask in causes.items()}
    known = np.logical_or.reduce(list(causes.values()))
    numbers["did not finish"] = int((rows & ~known).sum())
    ranked = sorted(((n, words) for words, n in numbers.items() if n), key=lambda one: -one[0])
    others = "".join(f", {n:,} {words}" for n, words in ranked[1:])
    total = int((judged & (tier == code)).sum())
    return f"tier {names[code]} misses most: of {total:,} requests {ranked[0][0]:,} {ranked[0][1]}{others}"


@dataclass(frozen=True, slots=True)
class _Pressure:
    """Shares of step time: requests waited on the engine; and of that time, why."""

    waited: float
    at_max_seqs: float
    kv_full: float
    known: bool
    mean_running: float


def _pressure(record: Record) -> _Pressure:
    steps = record.steps
    start_s, end_s = record.window_s
    start, duration = floats(steps, "start_s"), floats(steps, "duration_s")
    inside = (start >= start_s) & (start < end_s)
    duration = np.where(inside, duration, 0.0)
    if duration.sum() <= 0:
        return _Pressure(0.0, 0.0, 0.0, False, 0.0)
    engine, names = codes(steps, "engine")
    knobs = engine_knobs(record.manifest)
    capacity, seqs = (
        np.array([knobs.get(name, {}).get(knob, np.inf) for name in names], np.float64)[engine]
        for knob in ("kv_tokens_capacity", "max_num_seqs")
    )
    running = floats(steps, "running")
    waited = np.where(floats(steps, "waiting") > 0, duration, 0.0)
    at_max = running >= seqs
    full = ~at_max & (floats(steps, "kv_tokens_used") >= KV_FULL * capacity)
    whole = max(float(waited.sum()), 1e-300)
    return _Pressure(
        waited=float(waited.sum() / duration.sum()),
        at_max_seqs=float(waited[at_max].sum()) / whole,
        kv_full=float(waited[full].sum()) / whole,
        known=all(name in knobs for name in names),
        mean_running=float(running @ duration / duration.sum()),
    )


def scarce(record: Record, summary: Summary) -> str:
    """What is missed most, and the resource that was short, such as ``TPOT: step time``; empty where nothing is missed."""
    verdicts = judge(record.requests, summary.verdict)
    missed = _measured(record) & verdicts.judged & ~verdicts.met
    if not missed.any():
        return ""
    late = {"TTFT": verdicts.late_ttft, "TPOT": verdicts.late_tpot & ~verdicts.late_ttft, "E2E": verdicts.late_e2e}
    counts = {name: int((missed & mask).sum()) for name, mask in late.items()}
    most = max(counts, key=lambda name: counts[name])
    short = _short_of(summary, _pressure(record))
    if most == "TPOT" and short == "router":
        short = "step time"  # what waits before an engine is not yet decoded
    return f"{most if counts[most] else 'unfinished'}: {short}"


def _short_of(summary: Summary, pressure: _Pressure) -> str:
    """The resource that was short."""
    queue, ttft = summary.metrics["queue_s.mean"].value, summary.metrics["ttft_s.mean"].value
    if pressure.waited >= _NEGLIGIBLE:
        rest = 1 - pressure.at_max_seqs - pressure.kv_full
        if not pressure.known:
            return "engines"
        if pressure.at_max_seqs >= max(pressure.kv_full, rest):
            return "max_num_seqs"
        return "KV memory" if pressure.kv_full >= rest else "prefill compute"
    return "router" if queue is not None and ttft and queue > _QUEUEING * ttft else "step time"


def _shortage(summary: Summary, pressure: _Pressure) -> str:
    queue, ttft = summary.metrics["queue_s.mean"].value, summary.metrics["ttft_s.mean"].value
    preempted = summary.metrics["preemptions"].value or 0
    offered = summary.metrics["requests.offered"].value or 1
    waiting = f"requests waited on engines during {_percent(pressure.waited)} of step time"
    words = []
    match _short_of(summary, pressure):
        case "engines":
            words.append(waiting)
        case "max_num_seqs":
            words.append(f"{waiting}, {_percent(pressure.at_max_seqs)} of it at max_num_seqs")
        case "KV memory":
            words.append(f"{waiting}, {_percent(pressure.kv_full)} of it with KV memory full")
        case "prefill compute":
            rest = 1 - pressure.at_max_seqs - pressure.kv_full
            words.append(f"{waiting}, {_percent(rest)} of it with the step's token budget spent (prefill compute is short)")
        case "router":
            assert queue is not None
            assert ttft
            words.append(f"requests spent {_percent(queue / ttft)} of TTFT queueing, before they reached an engine")
        case _:
            words.append(
                f"no queue on the engines: steps themselves are too long, with {pressure.mean_running:.0f} requests in a batch"
            )
    if preempted > UNFINISHED * offered:
        words.append(f"{preempted:,} preemptions show that KV memory ran out")
    return ", ".join(words)


def _measured(record: Record) -> NDArray[np.bool_]:
    start_s, end_s = record.window_s
    arrival = floats(record.requests, "arrival_s")
    return (arrival >= start_s) & (arrival < end_s)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
