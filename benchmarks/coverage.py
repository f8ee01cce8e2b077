"""Do the 95 % intervals hold? Measured by simulation, on processes whose answer is known.

    python -m benchmarks.coverage                     all four tables; about ten minutes on two cores
    python -m benchmarks.coverage queue --runs 1000   one of: queue, fleet, pairs, stationarity

Every run goes the whole way: scenario, simulator, record, summary.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sim.backends import run_all
from sim.run import simulate
from traces.compare import Pair, pair
from traces.intervals import Estimate
from traces.metrics import summarise
from traces.paired import pool
from traces.record import Record
from traces.scenario import Scenario, load_scenario
from traces.tables import floats

METRICS = (
    "attainment", "goodput_req_s", "throughput_tok_s",
    "ttft_s.mean", "ttft_s.p50", "ttft_s.p99", "tpot_s.mean", "tpot_s.p50", "tpot_s.p99",
)  # fmt: skip

# --- queues with a known answer ---------------------------------------------------------------------------------------

LOAD = 0.7
SLO_SERVICES = 2.5
"""TTFT limit of the queues, in service times."""

_QUEUE = """
model: llama-3.1-8b
fleet: {{gpu: h200, gpus: 1}}
engine: {{max_num_seqs: 1, max_num_batched_tokens: 8192}}
workload:
  - name: line
    trace: {{prompt_tokens: 2000, output_tokens: {output}}}
    arrivals: poisson
    rate: {rate!r}/s
    slo: {{ttft: {ttft!r}s, tpot: 1s}}
policy: {{router: round-robin, batcher: vllm}}
duration: {duration!r}s
drain: {duration!r}s
warmup: {warmup!r}s
sim: {{noise: {noise!r}}}
"""


@dataclass(frozen=True, slots=True)
class Queue:
    """The simulator as a single server with Poisson arrivals: one request at a time, all of one size.

    ``noise``: relative standard deviation of step times; without it and with one token per request, the queue is M/D/1.
    ``step_s``: mean time of the prefill step and of each decode step, as the simulator has them.
    """

    noise: float
    output: int
    requests: int
    step_s: tuple[float, ...]

    @classmethod
    def make(cls, noise: float, output: int, requests: int) -> Queue:
        """With step times read off a lone request."""
        alone = cls(0.0, output, 1, (1.0,) * output)._simulate(0, rate=1e-3, duration=2e4)
        ttft, tpot = (float(floats(alone.requests, name)[0]) for name in ("ttft_s", "tpot_s"))
        return cls(noise, output, requests, (ttft, *[tpot] * (output - 1)))

    @property
    def service_s(self) -> float:
        return sum(self.step_s)

    @property
    def rate(self) -> float:
        return LOAD / self.service_s

    def run(self, seed: int) -> Record:
        """One run of about ``requests`` requests after a warm-up of 100 service times."""
        return self._simulate(seed, rate=self.rate, duration=self.requests / self.rate + 100 * self.service_s)

    def _simulate(self, seed: int, *, rate: float, duration: float) -> Record:
        text = _QUEUE.format(
            output=self.output,
            rate=rate,
            ttft=SLO_SERVICES * self.service_s,
            duration=duration,
            warmup=100 * self.service_s if rate > 1e-2 else 0.0,
            noise=self.noise,
        )
        return simulate(_scenario(text, seed))

    def truth(self) -> dict[str, float]:
        """What queueing theory knows: M/D/1 all of TTFT (Crommelin), else its mean (Pollaczek–Khinchine) and all of TPOT."""
        variance = self.noise**2 * sum(step**2 for step in self.step_s)
        wait = self.rate * (self.service_s**2 + variance) / (2 * (1 - LOAD))
        known = {"ttft_s.mean": wait + self.step_s[0]}
        if self.noise == 0 and self.output == 1:
            known["attainment"] = md1_wait_below(SLO_SERVICES - 1, LOAD)
            known["goodput_req_s"] = self.rate * known["attainment"]
            known["ttft_s.p50"], known["ttft_s.p99"] = (
                self.service_s * (1 + _inverse(partial(md1_wait_below, load=LOAD), p)) for p in (0.5, 0.99)
            )
        if self.noise and self.output == 2:
            spread = math.sqrt(math.log1p(self.noise**2))
            known["tpot_s.mean"] = self.step_s[1]
            known["tpot_s.p50"], known["tpot_s.p99"] = (
                self.step_s[1] * math.exp(spread * z - spread**2 / 2) for z in (0.0, 2.3263478740408408)
            )
        return known


def md1_wait_below(services: float, load: float) -> float:
    """Probability that a wait in M/D/1 is at most so many service times (Crommelin, Post Office Electrical Engineers' J. 1932)."""
    terms = [
        (load * (k - services)) ** k / math.factorial(k) * math.exp(-load * (k - services)) for k in range(math.floor(services) + 1)
    ]
    return (1 - load) * math.fsum(terms)


def _inverse(share: Callable[[float], float], p: float) -> float:
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) < p else (low, middle)
    return high


# --- a fleet, whose answer one long run knows -------------------------------------------------------------------------

CHAT = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload:
  - name: chat
    trace: azure-2023-conv
    arrivals: poisson
    rate: 35/s
    slo_mix:
      - {share: 40%, tier: premium, slo: {ttft: 200ms, tpot: 15ms}}
      - {share: 60%, tier: standard, slo: {ttft: 1s, tpot: 30ms}}
policy: {router: least-loaded, batcher: vllm}
duration: 110s
drain: 1min
warmup: 10s
"""
"""Two engines with two tiers of chat at 70 % of their capacity."""
PREFILL = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload:
  - name: prompts
    trace: {prompt_tokens: {lognormal: {mean: 2000, sigma: 0.8, min: 10, max: 30000}}, output_tokens: 4}
    arrivals: poisson
    rate: 30.7/s
    slo: {ttft: 300ms, tpot: 50ms}
policy: {router: least-loaded, batcher: vllm}
duration: 210s
drain: 1min
warmup: 10s
"""
"""Long prompts and hardly any output, at 70 % of capacity."""
LONG = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
engine: {max_num_seqs: 64}
workload:
  - name: answers
    trace: {prompt_tokens: 200, output_tokens: {lognormal: {mean: 400, sigma: 0.6, min: 10, max: 3000}}}
    arrivals: poisson
    rate: 15/s
    slo: {ttft: 17ms, tpot: 6.8ms}
policy: {router: least-loaded, batcher: vllm}
duration: 320s
drain: 1min
warmup: 20s
"""
"""Short prompts and long answers, at 70 % of capacity."""
FLEETS = {"chat": (CHAT, 49.5), "prefill": (PREFILL, 43.9), "long answers": (LONG, 21.8)}
"""Scenario and the rate that it can sustain, found by overloading it."""


def _scenario(text: str, seed: int, *sets: str) -> Scenario:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.yaml"
        path.write_text(text)
        return load_scenario(path, (*sets, f"seed={seed}"))


def fleet_run(text: str, seed: int, *sets: str) -> Record:
    """One run of a scenario given as text."""
    return simulate(_scenario(text, seed, *sets))


# --- paired comparisons -----------------------------------------------------------------------------------------------

_ARMS = ["fleet.gpus=4", "duration=70s", "warmup=10s"]
PAIRS: Mapping[str, tuple[str, str, str]] = {
    "least-loaded → power-of-two, 60 % load": ("policy.router=least-loaded", "policy.router=power-of-two", "60/s"),
    "least-loaded → power-of-two, 80 % load": ("policy.router=least-loaded", "policy.router=power-of-two", "80/s"),
    "round-robin → least-loaded, 70 % load": ("policy.router=round-robin", "policy.router=least-loaded", "70/s"),
    "token budget 8192 → 1024, 60 % load": (
        "engine.max_num_batched_tokens=8192", "engine.max_num_batched_tokens=1024", "60/s",
    ),
    "4 → 5 GPUs, 70 % load": ("fleet.gpus=4", "fleet.gpus=5", "70/s"),
}  # fmt: skip


def pair_run(name: str, seed: int, *sets: str) -> Pair:
    """Both arms of a comparison under one seed."""
    a, b, rate = PAIRS[name]
    records = [fleet_run(CHAT, seed, *_ARMS, f"workload.chat.rate={rate}", *sets, arm) for arm in (a, b)]
    return pair(records[0], records[1])


def variance_ratio(pairs: Sequence[Pair], metric: str) -> float:
    """Variance of B − A with independent seeds over that with common ones, as the runs' values show it."""
    a, b = (np.array([getattr(p.contrasts["all", metric], arm) for p in pairs]) for arm in "ab")
    return float((a.var(ddof=1) + b.var(ddof=1)) / (b - a).var(ddof=1))


# --- tables -----------------------------------------------------------------------------------------------------------


def covers(estimate: Estimate, truth: float) -> bool | None:
    """Whether the interval holds the truth; ``None`` = no interval is claimed. An open side holds everything."""
    if estimate.value is None or (estimate.lo is None and estimate.hi is None):
        return None
    return (estimate.lo is None or estimate.lo <= truth) and (estimate.hi is None or truth <= estimate.hi)


def coverage(summaries: Sequence[Mapping[str, Estimate]], truth: Mapping[str, float]) -> dict[str, tuple[float, int]]:
    """Metric → share of intervals that hold the truth, and of how many."""
    found = {}
    for metric, value in truth.items():
        hits = [hit for s in summaries if (hit := covers(s[metric], value)) is not None]
        if hits:
            found[metric] = (sum(hits) / len(hits), len(hits))
    return found


def metrics_of(record: Record) -> dict[str, Estimate]:
    """The metrics whose intervals are checked."""
    found = summarise(record).metrics
    return {metric: found[metric] for metric in METRICS}


def _each(function: Callable[[int], Any], runs: int, jobs: int | None) -> list[Any]:
    found = dict(run_all(function, range(runs), jobs=jobs))
    return [found[i] for i in range(runs)]


def _queue_metrics(queue: Queue, seed: int) -> dict[str, Estimate]:
    return metrics_of(queue.run(seed))


def _fleet_metrics(text: str, seed: int) -> dict[str, Estimate]:
    return metrics_of(fleet_run(text, seed))


def _table(heading: str, columns: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    print(f"\n{heading}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def queue_table(runs: int, jobs: int | None) -> None:
    """Queues whose answer theory knows."""

    def rows() -> Iterator[list[str]]:
        for requests in (2000, 8000):
            for name, queue in (("M/D/1", Queue.make(0.0, 1, requests)), ("M/G/1", Queue.make(0.3, 2, requests))):
                truth = queue.truth()
                found = coverage(_each(partial(_queue_metrics, queue), runs, jobs), truth)
                yield from ([name, f"{requests:,}", m, f"{truth[m]:.5g}", f"{c:.1%}", f"{n}"] for m, (c, n) in found.items())

    _table("Queues at 70 % load, truth from theory", ["queue", "requests", "metric", "truth", "covered", "runs"], rows())


def fleet_table(runs: int, jobs: int | None) -> None:
    """Fleets whose answer one run of 20,000 s knows."""

    def rows() -> Iterator[list[str]]:
        for name, (text, _) in FLEETS.items():
            long = metrics_of(fleet_run(text, 10**6, "duration=20000s", "warmup=100s", "sim.steps=off"))
            truth = {m: e.value for m, e in long.items() if e.value is not None}
            found = coverage(_each(partial(_fleet_metrics, text), runs, jobs), truth)
            yield from ([name, m, f"{truth[m]:.5g}", f"{c:.1%}", f"{n}"] for m, (c, n) in found.items())

    _table("Fleets at 70 % load, truth from one run of 20,000 s", ["fleet", "metric", "truth", "covered", "runs"], rows())


def pairs_table(runs: int, jobs: int | None) -> None:
    """Differences between arms, whose truth is their mean over all runs."""
    seeds = (1, 3, 5, 10)

    def rows() -> Iterator[list[str]]:
        for name in PAIRS:
            pairs: list[Pair] = _each(partial(pair_run, name), runs, jobs)
            for metric in METRICS:
                contrasts = [p.contrasts["all", metric] for p in pairs]
                truth = float(np.mean([c.b - c.a for c in contrasts]))
                held = []
                for count in seeds:
                    groups = [pool(contrasts[i : i + count]) for i in range(0, len(contrasts) - count + 1, count)]
                    hits = [e.lo <= truth <= e.hi for e in groups if e.lo is not None and e.hi is not None]
                    held.append(f"{np.mean(hits):.1%} of {len(hits)}" if hits else "–")
                yield [name, metric, f"{truth:.4g}", f"{variance_ratio(pairs, metric):.3g}", *held]

    columns = ["comparison", "metric", "B − A", "variance ÷", *(f"covered, {count} seed{'s'[: count > 1]}" for count in seeds)]
    _table("Differences between arms: what pairing saves, and coverage of their intervals", columns, rows())


def _warned(text: str, sets: Sequence[str], seed: int) -> tuple[bool, bool]:
    """Whether a run is called overloaded, and whether it is asked for a longer warm-up."""
    warnings = summarise(fleet_run(text, seed, *sets)).warnings
    return any("overloaded" in w for w in warnings), any("still filling" in w for w in warnings)


def stationarity_table(runs: int, jobs: int | None) -> None:
    """How often runs are called overloaded, and how often a longer warm-up is asked for."""
    loads = (0.5, 0.7, 0.85, 0.95, 1.1, 1.5)

    def rows() -> Iterator[list[str]]:
        for name, (text, capacity) in FLEETS.items():
            entry = text.partition("- name: ")[2].split()[0]
            for seconds, warmup in ((60, 0), (200, 0), (200, 60), (600, 60)):
                shares = []
                for load in loads:
                    sets = [f"workload.{entry}.rate={load * capacity}/s", f"duration={seconds}s", f"warmup={warmup}s"]
                    warned = np.array(_each(partial(_warned, text, sets), runs, jobs))
                    shares.append("{:.0%}, {:.0%}".format(*warned.mean(axis=0)))
                yield [name, f"{seconds} s", f"{warmup} s", *shares]

    columns = ["fleet", "arrivals for", "warm-up", *(f"{load:g} × capacity" for load in loads)]
    _table("Called overloaded, asked for a longer warm-up", columns, rows())


TABLES = {"queue": queue_table, "fleet": fleet_table, "pairs": pairs_table, "stationarity": stationarity_table}


def main(arguments: Sequence[str]) -> None:
    """Print the tables asked for, or all."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default: all")
    parser.add_argument("--runs", type=int, default=400, help="runs per row (a twentieth for each cell of stationarity)")
    parser.add_argument("--jobs", type=int, help="processes; default: one per core")
    options = parser.parse_args(arguments)
    for name in options.tables or TABLES:
        if name not in TABLES:
            parser.error(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        TABLES[name](max(10, options.runs // 20) if name == "stationarity" else options.runs, options.jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
