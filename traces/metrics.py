"""The metric dictionary: one definition per metric, computed from a run record and from nothing else.

A metric's key carries its unit and statistic (``ttft_s.p99``). *Measured* requests are those that arrive in the manifest's window
[t0, t1); latencies, attainment and goodput are theirs, wherever in the run they end. Throughput, GPU time and cost are what
happened between t0 and t1, whoever caused it, so that neither warm-up nor the drain after the window flatters or dilutes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.bounds import none_per_second, not_negative, ratio_above, share_of_one
from traces.diagnosis import binding, warnings
from traces.intervals import BATCHES, QUANTILES, UNKNOWN, Estimate, mean, proportion, quantiles, ratio, ratio_of_samples
from traces.itl import GapClock
from traces.record import Record
from traces.slices import Floats, Slices
from traces.tables import OUTCOMES, codes, floats
from traces.usage import usage
from traces.verdicts import Verdicts, judge

Mask = NDArray[np.bool_]
STATISTICS = ("mean", *QUANTILES)


@dataclass(frozen=True, slots=True)
class Metric:
    """``key`` without statistic; ``per_group``: known per tier and class too; ``aliases``: what other tools call the quantity."""

    key: str
    unit: str
    definition: str
    statistics: tuple[str, ...] = ()
    per_group: bool = True
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that a summary holds it under."""
        return tuple(f"{self.key}.{statistic}" for statistic in self.statistics) or (self.key,)


METRICS: tuple[Metric, ...] = (
    Metric(
        "ttft_s",
        "s",
        "Time to first token: first token − arrival, router queueing included; measured requests that got a token.",
        STATISTICS,
        aliases={
            "vllm": "vllm:time_to_first_token_seconds",
            "vllm bench": "ttft_ms",
            "aiperf": "time_to_first_token",
            "guidellm": "time_to_first_token_ms",
        },
    ),
    Metric(
        "tpot_s",
        "s",
        "Time per output token, one mean per request: (last − first token) / (n − 1); measured requests with two tokens or more. "
        "AIPerf and GuideLLM call this inter-token latency; GuideLLM's time per output token counts the first token in.",
        STATISTICS,
        aliases={
            "vllm": "vllm:request_time_per_output_token_seconds",
            "vllm bench": "tpot_ms",
            "aiperf": "inter_token_latency",
            "guidellm": "inter_token_latency_ms",
        },
    ),
    Metric(
        "itl_s",
        "s",
        "Inter-token latency: every gap between consecutive tokens of a request, each gap counted once (long answers weigh more); "
        "all gaps of the run. Quantiles are those of a histogram with bins of at most 0.5 %.",
        STATISTICS,
        aliases={"vllm": "vllm:inter_token_latency_seconds", "vllm bench": "itl_ms", "aiperf": "inter_chunk_latency"},
    ),
    Metric(
        "e2e_s",
        "s",
        "End-to-end latency: last token − arrival; measured requests that completed.",
        STATISTICS,
        aliases={
            "vllm": "vllm:e2e_request_latency_seconds",
            "vllm bench": "e2el_ms",
            "aiperf": "request_latency",
            "guidellm": "request_latency",
        },
    ),
    Metric(
        "queue_s",
        "s",
        "Arrival to first scheduled on an engine, time in the router included; measured requests that were scheduled.",
        STATISTICS,
        aliases={"vllm": "vllm:request_queue_time_seconds"},
    ),
    Metric(
        "attainment",
        "1",
        "Share of offered (measured) requests with an SLO that meet it. Shed, failed and unfinished requests miss.",
    ),
    Metric(
        "attainment_admitted",
        "1",
        "The same over admitted requests: ever assigned to an engine and not shed. It can rise as a policy sheds more.",
    ),
    Metric(
        "attainment_dslo",
        "1",
        "Share of offered requests with TTFT and TPOT objectives whose every token i (from 0) came by arrival + TTFT + i·TPOT.",
    ),
    Metric(
        "goodput_req_s",
        "1/s",
        "Measured requests that meet their SLO, per second of the window.",
        aliases={"vllm bench": "request_goodput", "aiperf": "goodput"},
    ),
    Metric("goodput_tok_s", "tokens/s", "Output tokens of measured requests that meet their SLO, per second of the window."),
    Metric(
        "throughput_req_s",
        "1/s",
        "Requests completed in the window, per second.",
        aliases={"vllm bench": "request_throughput", "aiperf": "request_throughput", "guidellm": "requests_per_second"},
    ),
    Metric(
        "throughput_tok_s",
        "tokens/s",
        "Output tokens emitted in the window, per second; a request's tokens after its first are taken as evenly spaced.",
        aliases={
            "vllm": "vllm:generation_tokens",
            "vllm bench": "output_throughput",
            "aiperf": "output_token_throughput",
            "guidellm": "output_tokens_per_second",
        },
    ),
    Metric(
        "throughput_input_tok_s",
        "tokens/s",
        "Prompt tokens, cached ones included, of requests whose first token came in the window, per second.",
        aliases={"vllm": "vllm:prompt_tokens"},
    ),
    Metric("prefix_hit", "1", "Share of prompt tokens found in the prefix cache; measured requests that were scheduled."),
    Metric("draft_acceptance", "1", "Accepted over verified draft tokens; measured requests."),
    Metric(
        "accepted_per_verification",
        "tokens",
        "Draft tokens accepted per decoding request and step, the token that the model adds not counted; steps of the window.",
        per_group=False,
        aliases={"vllm": "mean acceptance length − 1"},
    ),
    Metric(
        "preemptions", "count", "Preemptions by recompute suffered by measured requests.", aliases={"vllm": "vllm:num_preemptions"}
    ),
    Metric(
        "requests",
        "count",
        "Measured requests: offered, admitted (ever assigned to an engine and not shed) and by outcome.",
        ("offered", "admitted", *OUTCOMES),
    ),
    Metric("gpu_s", "s", "GPU-seconds held in the window: an engine holds its GPUs until parked or released.", per_group=False),
    Metric("usd", "USD", "GPU-seconds held in the window × the manifest's price.", per_group=False),
    Metric("usd_per_mtok", "USD", "Cost of the window per million output tokens emitted in it.", per_group=False),
    Metric("busy", "1", "Share of active and draining engines' time spent in steps.", per_group=False),
    Metric(
        "kv_use",
        "1",
        "KV memory in allocated blocks over capacity: mean over active and draining engines' time, and largest on any engine.",
        ("mean", "max"),
        per_group=False,
        aliases={"vllm": "vllm:kv_cache_usage_perc"},
    ),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a record says. ``metrics``, and per tier and class: key → estimate, keys as in ``METRICS``."""

    scenario: str
    record: str | None
    verdict: str
    metrics: Mapping[str, Estimate]
    tiers: Mapping[str, Mapping[str, Estimate]]
    classes: Mapping[str, Mapping[str, Estimate]]
    warnings: Sequence[str] = ()
    binding: str = ""

    def to_json(self) -> dict[str, Any]:
        """One flat object: ``KEY``, ``KEY.lo``, ``KEY.hi``, ``KEY.n`` and, where there is one, ``KEY.note``; unknown is null."""
        return {
            "scenario": self.scenario,
            "record": self.record,
            "verdict": self.verdict,
            "metrics": _flat(self.metrics),
            "tiers": {name: _flat(metrics) for name, metrics in self.tiers.items()},
            "classes": {name: _flat(metrics) for name, metrics in self.classes.items()},
            "warnings": list(self.warnings),
            "binding": self.binding,
        }


def summarise(record: Record, verdict: str = "auto") -> Summary:
    """Every metric of ``METRICS``, overall, per tier and per class, with warnings and what limits attainment.

    Raises:
        ValueError: ``verdict`` is not a mode of ``traces.verdicts``.
    """
    run = Run(record, verdict)
    everyone = run.group(np.ones(len(run.arrival), bool), set(run.class_names))
    several = len(run.tier_names) > 1
    tiers = {
        name: run.group(run.tier == i, run.classes_of_tier[i]) if several else everyone for i, name in enumerate(run.tier_names)
    }
    classes = {}
    for i, name in enumerate(run.class_names):
        alone = [tier for tier, names in zip(run.tier_names, run.classes_of_tier, strict=True) if names == {name}]
        classes[name] = tiers[alone[0]] if alone else run.group(run.klass == i, {name})
    scenario = record.manifest["scenario"]
    summary = Summary(
        scenario=str(scenario.get("name", "")) if isinstance(scenario, Mapping) else str(scenario),
        record=None if record.path is None else str(record.path),
        verdict=verdict,
        metrics={**everyone, **run.fleet()},
        tiers=tiers,
        classes=classes,
    )
    summary = dataclasses.replace(summary, warnings=warnings(record, summary))
    return dataclasses.replace(summary, binding=binding(record, summary))


class Run:
    """The record's columns as arrays, one entry per offered request, and what is worked out of them once for all groups."""

    def __init__(self, record: Record, verdict: str) -> None:
        requests = record.requests
        self.record = record
        start_s, end_s = record.window_s
        self.slices = Slices(start_s, end_s, BATCHES) if end_s > start_s else None
        self.klass, self.class_names = codes(requests, "class")
        self.tier, self.tier_names = codes(requests, "tier")
        self.classes_of_tier: list[set[str]] = [
            {self.class_names[code] for code in np.unique(self.klass[self.tier == i]).tolist()} for i in range(len(self.tier_names))
        ]
        self.arrival = floats(requests, "arrival_s")
        self.measured: Mask = (self.arrival >= start_s) & (self.arrival < end_s)
        self.latency = {name: floats(requests, name) for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")}
        self.tokens = {
            name: floats(requests, name)
            for name in ("prompt_tokens", "output_tokens", "cached_tokens", "drafted_tokens", "accepted_tokens", "preemptions")
        }
        outcome, names = codes(requests, "outcome")
        self.outcome = {name: outcome == (names.index(name) if name in names else -2) for name in OUTCOMES}
        self.verdicts: Verdicts = judge(requests, verdict)
        self.dslo = judge(requests, "dslo")
        self.first = self.arrival + self.latency["ttft_s"]
        later = np.maximum(self.tokens["output_tokens"] - 1, 0)
        self.last = self.first + np.where(later > 0, self.latency["tpot_s"] * later, 0.0)
        self.gap_clock = GapClock(record)

    def group(self, rows: Mask, class_names: set[str]) -> dict[str, Estimate]:
        """Per-group metrics of some rows, which are those of the classes named."""
        return dict(
            [
                *self._latencies(rows & self.measured),
                *self._gaps(rows, class_names),
                *self._attainment(rows & self.measured),
                *self._throughput(rows),
                *self._counts(rows & self.measured),
            ]
        )

    def _latencies(self, rows: Mask) -> Iterator[tuple[str, Estimate]]:
        for key, column in self.latency.items():
            values = column[rows]
            values = values[~np.isnan(values)]
            yield f"{key}.mean", not_negative(mean(values))
            yield from zip((f"{key}.{name}" for name in QUANTILES), quantiles(values, list(QUANTILES.values())), strict=True)

    def _gaps(self, rows: Mask, class_names: set[str]) -> Iterator[tuple[str, Estimate]]:
        gaps = np.maximum(self.tokens["output_tokens"][rows] - 1, 0)
        spent = np.where(gaps > 0, self.latency["tpot_s"][rows] * gaps, 0.0)
        yield from self.gap_clock.estimates(class_names, gaps, spent)

    def _attainment(self, rows: Mask) -> Iterator[tuple[str, Estimate]]:
        judged = rows & self.verdicts.judged
        met = rows & self.verdicts.met
        for key, some in (("attainment", judged), ("attainment_admitted", judged & self.verdicts.admitted)):
            yield key, proportion(met[some], self.verdicts.strain[some])
        dslo = self.dslo
        yield "attainment_dslo", proportion(dslo.met[rows & dslo.judged], dslo.strain[rows & dslo.judged])
        tokens = self.tokens["output_tokens"][met]
        for key, weight in (("goodput_req_s", None), ("goodput_tok_s", tokens)):
            yield key, self._rate(self.arrival[met], weight) if judged.any() else UNKNOWN

    def _throughput(self, rows: Mask) -> Iterator[tuple[str, Estimate]]:
        done = rows & self.outcome["completed"]
        yield "throughput_req_s", self._rate(self.last[done])
        begun = rows & ~np.isnan(self.first)
        emitted = self.emitted(begun)
        yield "throughput_tok_s", UNKNOWN if self.slices is None else ratio_above(emitted, self.slices.widths_s, int(begun.sum()))
        yield "throughput_input_tok_s", self._rate(self.first[begun], self.tokens["prompt_tokens"][begun])

    def emitted(self, rows: Mask) -> Floats:
        """Output tokens of requests with a first token, per slice of the window."""
        if self.slices is None:
            return np.empty(0)
        first, last = self.first[rows], self.last[rows]
        tokens = self.tokens["output_tokens"][rows]
        spread = last > first
        at_once = self.slices.happened(self.slices.positions(first), np.where(spread, 1.0, tokens))
        first, last = first[spread], last[spread]
        return at_once + self.slices.flowed(first, last, (tokens[spread] - 1) / (last - first))

    def _counts(self, rows: Mask) -> Iterator[tuple[str, Estimate]]:
        scheduled = rows & ~np.isnan(self.latency["queue_s"])
        yield "prefix_hit", self._share("cached_tokens", "prompt_tokens", scheduled)
        yield "draft_acceptance", self._share("accepted_tokens", "drafted_tokens", rows)
        offered = int(rows.sum())
        yield "preemptions", Estimate(int(self.tokens["preemptions"][rows].sum()), n=offered)
        yield "requests.offered", Estimate(offered, n=offered)
        yield "requests.admitted", Estimate(int((rows & self.verdicts.admitted).sum()), n=offered)
        for name, mask in self.outcome.items():
            yield f"requests.{name}", Estimate(int((rows & mask).sum()), n=offered)

    def _share(self, part: str, whole: str, rows: Mask) -> Estimate:
        parts, wholes = self.tokens[part][rows], self.tokens[whole][rows]
        return share_of_one(ratio_of_samples(parts, wholes))

    def _rate(self, times: Floats, weight: Floats | None = None) -> Estimate:
        if self.slices is None:
            return Estimate(None, note="the measured window is empty")
        slots = self.slices.positions(times)
        inside = int(((slots > 0) & (slots <= self.slices.count)).sum())
        if not inside and weight is None:
            return none_per_second(self.slices.seconds)
        return ratio_above(self.slices.happened(slots, weight), self.slices.widths_s, inside)

    def fleet(self) -> dict[str, Estimate]:
        """Metrics of the fleet as a whole."""
        if self.slices is None:
            unknown = Estimate(None, note="the measured window is empty")
            return {key: unknown for metric in METRICS if not metric.per_group for key in metric.keys}
        use = usage(self.record.fleet, self.record.steps, self.record.manifest, self.slices)
        widths, seconds = self.slices.widths_s, self.slices.seconds
        begun = ~np.isnan(self.first)
        engines = len(codes(self.record.fleet, "engine")[1])
        no_price = Estimate(None, note="no price per GPU-hour is given")
        no_capacity = Estimate(None, note="the manifest does not tell the engines' KV capacity")
        return {
            "accepted_per_verification": self._accepted_per_verification(),
            "gpu_s": _scaled(ratio_above(use.gpu_s, widths, engines), seconds),
            "usd": no_price if use.usd is None else _scaled(ratio_above(use.usd, widths, engines), seconds),
            "usd_per_mtok": no_price if use.usd is None else ratio_above(use.usd, self.emitted(begun) / 1e6, int(begun.sum())),
            "busy": share_of_one(ratio(use.busy_s, use.serving_s, self.record.steps.num_rows)),
            "kv_use.mean": no_capacity
            if use.kv_capacity is None
            else share_of_one(ratio(use.kv_used, use.kv_capacity, self.record.steps.num_rows)),
            "kv_use.max": no_capacity if use.kv_peak is None else Estimate(use.kv_peak, n=self.record.steps.num_rows),
        }

    def _accepted_per_verification(self) -> Estimate:
        """Steps tell what was verified, requests which share of it was accepted."""
        steps = self.record.steps
        start_s, end_s = self.record.window_s
        inside = (floats(steps, "start_s") >= start_s) & (floats(steps, "start_s") < end_s)
        verified, decodes = (floats(steps, name)[inside].sum() for name in ("spec_tokens", "decode_tokens"))
        share = self._share("accepted_tokens", "drafted_tokens", self.measured)
        return _scaled(share, float(verified / decodes)) if verified and decodes else UNKNOWN


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    value, lo, hi = (None if x is None else x * factor for x in (estimate.value, estimate.lo, estimate.hi))
    return dataclasses.replace(estimate, value=value, lo=lo, hi=hi)


def _flat(metrics: Mapping[str, Estimate]) -> dict[str, float | int | str | None]:
    flat: dict[str, float | int | str | None] = {}
    for key, estimate in metrics.items():
        flat |= {key: estimate.value, f"{key}.lo": estimate.lo, f"{key}.hi": estimate.hi, f"{key}.n": estimate.n}
        if estimate.note:
            flat[f"{key}.note"] = estimate.note
    return flat
