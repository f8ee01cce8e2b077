"""What do common random numbers save, and do the intervals of differences hold? On a grid of comparisons fixed beforehand.

    python -m benchmarks.pairing                          nine comparisons and three others; about 15 minutes on two cores
    python -m benchmarks.pairing --runs 40 --only 70%     some of them

Four H200 serve two tiers of chat for a minute at 50, 70 and 90 % of what they sustain. The gain is the variance of B − A under
independent seeds, Var(A) + Var(B), over the variance that it has. "paired" is the plain difference under common seeds; "adjusted"
is what `twinserve compare` gives from ten seeds on: the same, less what the seeds' workloads explain (``traces.controls``).

Arms that share every random number differ the less the more alike they respond to it; their correlation sets what pairing can save.
A policy that removes nearly all misses (attainment at 50 % load) has hardly any luck in common with one that makes them, and a p99
is made of a few requests, which are others in the other arm.

Two more ways to take the workloads' luck out were tried and left: the mean backlog of a virtual queue (Lindley's recursion over the
offered tokens) as a control, which helps p99s a little and all else less than the tokens do; and controls only where an F test
shows them to be of use, which loses in some comparisons what it saves in others, with intervals that hold less often.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.fleets import CHAT, each
from sim.compare import offered_tokens
from traces.compare import Pair, pair
from traces.controls import DRAWS_PER_SEED, Controls, adjusted
from traces.intervals import Floats
from traces.paired import ENOUGH_SEEDS, Contrast, pool

METRICS = ("attainment", "goodput_req_s", "ttft_s.p50", "ttft_s.p99", "tpot_s.p50", "tpot_s.p99")
FLEET = replace(CHAT, gpus="{gpu: h200, gpus: 4}", window_s=60.0, rate_per_s=70.0)
SUSTAINED_PER_S = 100.0
"""By four engines (``FLEET.capacity_per_s``: 103/s); the loads are fractions of it."""
ROUTER, BATCHER = "policy.router", "policy.batcher"
Comparison = tuple[float, str, str]
"""Load, and the override that makes each arm."""
GRID: Sequence[Comparison] = tuple(
    (load, a, b)
    for load in (0.5, 0.7, 0.9)
    for a, b in (
        (f"{ROUTER}=round-robin", f"{ROUTER}=join-shortest-queue"),
        (f"{ROUTER}=round-robin", f"{ROUTER}=lmetric"),
        (f"{BATCHER}=vllm", f"{BATCHER}=sarathi"),
    )
)
OTHERS: Sequence[Comparison] = (
    (0.6, f"{ROUTER}=least-loaded", f"{ROUTER}=power-of-two"),
    (0.7, "engine.max_num_batched_tokens=8192", "engine.max_num_batched_tokens=1024"),
    (0.7, "fleet.gpus=4", "fleet.gpus=5"),
)
"""Comparisons that had shown weak pairing, or intervals that did not hold."""
TYPICAL: Comparison = (0.7, f"{ROUTER}=round-robin", f"{ROUTER}=join-shortest-queue")
"""The comparison that is meant by "a typical one": two routers at the load at which a fleet is planned to run."""


def played(comparison: Comparison, seed: int) -> Pair:
    """Both arms under one seed."""
    load, *arms = comparison
    a, b = (FLEET.run(seed, f"workload.load.rate={load * SUSTAINED_PER_S!r}/s", "sim.steps=off", arm) for arm in arms)
    return pair(a, b)


def tokens(load: float, seed: int) -> tuple[int, int]:
    """The controls of one seed: prompt and output tokens that it offers."""
    return offered_tokens(FLEET.scenario(seed, f"workload.load.rate={load * SUSTAINED_PER_S!r}/s"), seed)


@dataclass(frozen=True, slots=True)
class Gains:
    """Variance of a difference under independent seeds, over its variance: plain, and adjusted over ten seeds."""

    paired: float
    adjusted: float


def gains(a: Floats, b: Floats, controls: Floats) -> Gains:
    """Of values per seed. The adjusted variance is that of ten seeds: fitting two slopes to ten costs (10 − 2) / (10 − 4) of what
    is left, and not knowing the controls' mean a 20th of what is taken.
    """
    alone = a.var(ddof=1) + b.var(ddof=1)
    plain = (b - a).var(ddof=1)
    rest = adjusted(b - a, Controls(controls, controls)).unexplained
    fitted = rest * (ENOUGH_SEEDS - 2) / (ENOUGH_SEEDS - controls.shape[1] - 2) + max(0.0, plain - rest) / DRAWS_PER_SEED
    return Gains(float(alone / plain), float(alone / fitted))


def gains_with_interval(contrasts: Sequence[Contrast], controls: Floats, draws: int = 400) -> tuple[Gains, Gains, Gains]:
    """The gains and the ends of their 95 % intervals, by the bootstrap over seeds."""
    a, b = (np.array([getattr(c, arm) for c in contrasts], np.float64) for arm in "ab")
    rng = np.random.default_rng(0)
    resampled = [gains(a[rows], b[rows], controls[rows]) for rows in rng.integers(0, len(a), (draws, len(a)))]
    ends = [Gains(*(float(np.quantile([getattr(g, n) for g in resampled], p)) for n in Gains.__slots__)) for p in (0.025, 0.975)]
    return gains(a, b, controls), ends[0], ends[1]


def covered(contrasts: Sequence[Contrast], controls: Floats, count: int, groups: int = 300) -> tuple[float, float]:
    """Share of intervals from ``count`` seeds that hold the mean over all seeds, and share of groups that give an interval."""
    truth = float(np.mean([c.b - c.a for c in contrasts]))
    rng = np.random.default_rng(count)
    hits = []
    for _ in range(groups if count > 1 else 1):
        rows = rng.permutation(len(contrasts))
        for some in rows[: len(rows) // count * count].reshape(-1, count)[: None if count == 1 else 1]:
            rest = np.delete(controls, some, axis=0)[: DRAWS_PER_SEED * count]
            found = pool([contrasts[i] for i in some], Controls(controls[some], rest))
            hits.append(None if found.lo is None or found.hi is None else found.lo <= truth <= found.hi)
    known = [hit for hit in hits if hit is not None]
    return (float(np.mean(known)) if known else float("nan")), len(known) / len(hits)


def rows(comparison: Comparison, runs: int, jobs: int | None) -> Sequence[Sequence[str]]:
    """One row per metric."""
    seeds = range(20_000, 20_000 + runs)
    pairs: list[Pair] = each(partial(played, comparison), seeds, jobs)
    controls = np.array(each(partial(tokens, comparison[0]), seeds, jobs), np.float64)
    told = []
    for metric in METRICS:
        contrasts = [p.contrasts["all", metric] for p in pairs]
        (found, low, high), difference = gains_with_interval(contrasts, controls), np.mean([c.b - c.a for c in contrasts])
        cells = [f"{getattr(found, n):.1f} ({getattr(low, n):.1f}–{getattr(high, n):.1f})" for n in Gains.__slots__]
        for count in (1, 5, ENOUGH_SEEDS):
            share, known = covered(contrasts, controls, count)
            cells.append("–" if known == 0 else f"{share:.1%}" + (f" of {known:.0%}" if known < 0.995 else ""))
        told.append([metric, f"{difference:.4g}", *cells])
    return told


def name_of(comparison: Comparison) -> str:
    """``70 %: round-robin → join-shortest-queue``."""
    load, *arms = comparison
    words = [arm.rpartition("=")[2] if arm.startswith("policy") else arm.rpartition(".")[2] for arm in arms]
    return f"{load:.0%}: {' → '.join(words)}"


def table(comparisons: Sequence[Comparison], runs: int, jobs: int | None) -> None:
    """All comparisons, printed one by one."""
    columns = (
        "comparison",
        "metric",
        "B − A",
        "gain, paired",
        "gain, adjusted",
        "covered, 1 seed",
        "5 seeds",
        "10 seeds, adjusted",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for comparison in comparisons:
        for cells in rows(comparison, runs, jobs):
            print(f"| {' | '.join([name_of(comparison), *cells])} |", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairing", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="seeds per comparison")
    parser.add_argument("--only", default="", metavar="TEXT", help="comparisons whose name holds this")
    parser.add_argument("--jobs", type=int, help="processes; default: one per core")
    options = parser.parse_args(arguments)
    table([c for c in (*GRID, *OTHERS) if options.only in name_of(c)], options.runs, options.jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
