"""Do the 95 % intervals hold? Measured by simulation, on processes whose answer is known.

    python -m benchmarks.coverage                     both tables; about 15 minutes on two cores
    python -m benchmarks.coverage queue --runs 1000   one of: queue, fleet

Every run goes the whole way: scenario, simulator, record, summary. "Open": one end is not known, and counts as holding the truth.
"Marked": the summary notes that the figure is not to be trusted. What is covered of those that are neither is told apart.
Queues are known by theory, fleets by four long runs, whose spread tells how well. Differences of arms: `benchmarks.pairing`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import binomtest

from benchmarks.fleets import FLEETS, UNSEEN, Fleet, chosen, each, loaded
from sim.run import simulate
from traces.intervals import Estimate
from traces.metrics import summarise
from traces.record import Record
from traces.tables import floats

METRICS = (
    "attainment", "goodput_req_s", "throughput_tok_s",
    "ttft_s.mean", "ttft_s.p50", "ttft_s.p99", "tpot_s.mean", "tpot_s.p50", "tpot_s.p99",
)  # fmt: skip

LONG_RUNS, LONG_RUN_S = 4, 5000
_FIRST_SEED, _LONG_SEED = 50_000, 10**6
"""Seeds that had no part in the choice of the method."""

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
        return simulate(loaded(text, seed))

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


# --- tables -----------------------------------------------------------------------------------------------------------


def covers(estimate: Estimate, truth: float) -> bool | None:
    """Whether the interval holds the truth; ``None`` = no interval is claimed. An open side holds everything."""
    if estimate.value is None or (estimate.lo is None and estimate.hi is None):
        return None
    return (estimate.lo is None or estimate.lo <= truth) and (estimate.hi is None or truth <= estimate.hi)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of the intervals of one metric.

    ``hits``: how many of ``runs`` hold the truth; ``sound_hits``, ``sound``: the same of closed intervals without a note.
    """

    hits: int
    runs: int
    open: float
    marked: float
    sound_hits: int
    sound: int

    @property
    def share(self) -> float:
        """Of intervals that hold the truth."""
        return self.hits / self.runs

    @property
    def cells(self) -> list[str]:
        """For a table, with 95 % intervals of the shares (Wilson)."""
        return [_share(self.hits, self.runs), f"{self.open:.0%}", f"{self.marked:.0%}", _share(self.sound_hits, self.sound)]


COVERAGE_COLUMNS = ("covered", "open", "marked", "covered, of those neither")


def _share(hits: int, runs: int) -> str:
    if not runs:
        return "–"
    within = binomtest(hits, runs).proportion_ci(method="wilson")
    return f"{hits / runs:.1%} ({100 * within.low:.1f}–{100 * within.high:.1f}) of {runs}"


def coverage(summaries: Sequence[Mapping[str, Estimate]], truth: Mapping[str, float]) -> dict[str, Coverage]:
    """Metric → how its intervals fared; metrics without one are left out."""
    found = {}
    for metric, value in truth.items():
        known = [(s[metric], hit) for s in summaries if (hit := covers(s[metric], value)) is not None]
        if known:
            closed = [e.lo is not None and e.hi is not None for e, _ in known]
            sound = [hit for (e, hit), both in zip(known, closed, strict=True) if both and not e.note]
            found[metric] = Coverage(
                hits=sum(hit for _, hit in known),
                runs=len(known),
                open=1 - sum(closed) / len(known),
                marked=sum(bool(e.note) for e, _ in known) / len(known),
                sound_hits=sum(sound),
                sound=len(sound),
            )
    return found


def metrics_of(record: Record) -> dict[str, Estimate]:
    """The metrics whose intervals are checked."""
    found = summarise(record).metrics
    return {metric: found[metric] for metric in METRICS}


def _queue_metrics(queue: Queue, seed: int) -> dict[str, Estimate]:
    return metrics_of(queue.run(seed))


def _fleet_metrics(fleet: Fleet, seed: int, sets: Sequence[str] = ()) -> dict[str, Estimate]:
    return metrics_of(fleet.run(seed, *sets))


def _table(heading: str, columns: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    print(f"\n{heading}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def queue_table(runs: int, jobs: int | None, _: Sequence[str] = ()) -> None:
    """Queues whose answer theory knows."""

    def rows() -> Iterator[list[str]]:
        for requests in (1000, 2000, 8000):
            for name, queue in (("M/D/1", Queue.make(0.0, 1, requests)), ("M/G/1", Queue.make(0.3, 2, requests))):
                truth = queue.truth()
                found = coverage(each(partial(_queue_metrics, queue), _seeds(runs), jobs), truth)
                yield from ([name, f"{requests:,}", m, f"{truth[m]:.5g}", *c.cells] for m, c in found.items())

    _table(
        f"Queues at 70 % load, truth from theory; {_seen(runs)}",
        ["queue", "requests", "metric", "truth", *COVERAGE_COLUMNS],
        rows(),
    )


def fleet_table(runs: int, jobs: int | None, names: Sequence[str] = ()) -> None:
    """Fleets whose answer long runs know."""

    def rows() -> Iterator[list[str]]:
        for name, fleet in chosen({**FLEETS, **UNSEEN}, names).items():
            truth, error = long_run(fleet, jobs)
            found = coverage(each(partial(_fleet_metrics, fleet), _seeds(runs), jobs), truth)
            yield from ([name, m, f"{truth[m]:.5g} ± {error[m]:.1g}", *c.cells] for m, c in found.items())

    heading = f"Fleets, truth from {LONG_RUNS} runs of {LONG_RUN_S:,} s ± its standard error; {_seen(runs)}"
    _table(heading, ["fleet", "metric", "truth", *COVERAGE_COLUMNS], rows())


def long_run(fleet: Fleet, jobs: int | None) -> tuple[dict[str, float], dict[str, float]]:
    """Metric → mean over long runs, and its standard error."""
    seeds = range(_LONG_SEED, _LONG_SEED + LONG_RUNS)
    found = each(partial(_fleet_metrics, fleet, sets=(f"duration={LONG_RUN_S}s", "warmup=100s", "sim.steps=off")), seeds, jobs)
    values = {m: np.array([run[m].value for run in found], np.float64) for m in METRICS}
    errors = {m: float(x.std(ddof=1)) / math.sqrt(LONG_RUNS) for m, x in values.items()}
    return {m: float(x.mean()) for m, x in values.items()}, errors


def _seeds(runs: int) -> range:
    return range(_FIRST_SEED, _FIRST_SEED + runs)


def _seen(runs: int) -> str:
    """Within what a coverage of 95 % is seen in 95 of 100 studies of so many runs."""
    half = 1.96 * math.sqrt(0.95 * 0.05 / runs)
    return f"{runs} runs a row, of which a coverage of 95 % is seen as {0.95 - half:.1%} to {0.95 + half:.1%}"


TABLES = {"queue": queue_table, "fleet": fleet_table}


def main(arguments: Sequence[str]) -> None:
    """Print the tables asked for, or all."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default: all")
    parser.add_argument("--runs", type=int, default=400, help="runs per row")
    parser.add_argument("--fleet", action="append", default=[], metavar="NAME", help="this one alone; may be repeated")
    parser.add_argument("--jobs", type=int, help="processes; default: one per core")
    options = parser.parse_args(arguments)
    for name in options.tables or TABLES:
        if name not in TABLES:
            parser.error(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        TABLES[name](options.runs, options.jobs, options.fleet)


if __name__ == "__main__":
    main(sys.argv[1:])
